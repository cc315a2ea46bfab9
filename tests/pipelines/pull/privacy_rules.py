"""The privacy rule that tests of pulls land with, and what an object that it missed would contain."""

from __future__ import annotations

import re
from typing import Any

from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy

KEY = b"0123456789abcdef0123456789abcdef"
DROP = ["metadata.session", "newValueJson.policies"]
EMAIL = re.compile(rb"[\w.]+(?:@|\\u0040|%40)example\.com")


def rule(key: bytes = KEY, **given: Any) -> PrivacyRule:
    """Returns the usual rule, with another key or changed arguments."""
    request = read_privacy({"conn_id": "audit_privacy", "drop": DROP, **given})
    assert request is not None
    return PrivacyRule(request, key)
