"""What the Airflow shared by all tests of this folder is started with.

Knows: the DAG files, the fake's options, and the variables the DAG files read.
Must not know: which test needs which of them.
Its one rule: a destination lies below the home, and no two DAGs share one.
"""

from __future__ import annotations

import json
from pathlib import Path

from demo.source import Source
from tests.airflow.home import Home
from tests.matrix.versions import PROJECT

DAG_FILES = sorted([*(PROJECT / "dags").glob("*.py"), *(Path(__file__).parent / "dags").glob("*.py")])
# Few records a day: what is looked at here is which day lands, not how fast.
FAKE_OPTIONS = ("--records-per-day", "200", "--gzip")


def settings(home: Home, source: Source) -> dict[str, str]:
    """The variables beside those of the demo; `AUDIT_LANDED` is the folder in which each DAG makes its own.

    Two connections more: one that leaves every wait to Airflow, and one with a token that Cloudflare refuses.
    """
    connection = source.connection()
    impatient = {"account_id": source.account_id, "max_attempts": 1, "max_retry_seconds": 1}
    return {
        "AUDIT_LANDED": home.landed.as_uri(),
        "AIRFLOW_CONN_IMPATIENT": json.dumps({**connection, "extra": impatient}),
        "AIRFLOW_CONN_REFUSED": json.dumps({**connection, "password": "no-token-of-theirs"}),
    }
