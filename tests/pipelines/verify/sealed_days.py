"""Eight sealed and signed days, and what tests of the index of seals do with them."""

from __future__ import annotations

from datetime import timedelta

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY, PRIVATE_PEM, PUBLIC_PEM, commit, record
from tests.pipelines.verify.memory_store import MemoryStore

SIGNER = Ed25519Signer(PRIVATE_PEM)
ANCHORS = TrustAnchors(Ed25519Verifier([PUBLIC_PEM]))
DAYS = 8
INDEX = "_seals/index/000008.json"
LAST_DAY = (END - DAY, END)


def sealed_days(*, states_md5: bool) -> CountingStore:
    """Returns eight sealed and signed days, in a store whose listings state digests or do not."""
    made = CountingStore(dict(committed(windows(DAYS))))
    made.states_md5 = states_md5
    seal(made, signer=SIGNER)
    return made


def late_record(store: MemoryStore, days_ago: int = 1) -> None:
    """Commits a record to the window that ends so many days before the end."""
    of = windows(DAYS)[-days_ago]
    commit(store, of, [record(of.start + timedelta(seconds=5), f"late{days_ago}")])


def kinds(store: MemoryStore, days_ago: int = 1, *, anchors: TrustAnchors = ANCHORS) -> list[str]:
    """Returns the kinds of the findings of the verification of one day."""
    found = verify(store, END - days_ago * DAY, END - (days_ago - 1) * DAY, anchors).findings
    return [str(one.kind) for one in found]
