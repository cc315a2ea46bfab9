"""Fixtures of stores on real servers; Airflow has a temporary home, because its connections lead to them."""

from __future__ import annotations

import os
import sys
import tempfile

if "airflow" not in sys.modules:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")

from tests.adapters.storage.store_fixtures import collects_new_objects, open_at, store

__all__ = ["collects_new_objects", "open_at", "store"]
