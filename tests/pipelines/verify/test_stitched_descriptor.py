"""The descriptor of a stitched history is checked as it is stored when the history is verified."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.archive.stitching import STITCHING_KEY, Stitching, stitching_of
from airflow_audit_provider.core.verification.findings import FindingKind
from airflow_audit_provider.pipelines.stitched_verify import StitchedStores, verify_stitched
from airflow_audit_provider.pipelines.verify import NO_TRUST_ANCHORS
from tests.pipelines.verify.memory_store import MemoryStore


def _stitching(days: int = 1, hour: int = 0) -> Stitching:
    return stitching_of("0" * 32, (), datetime(2026, 3, 10, hour, tzinfo=UTC), timedelta(days=days))


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (_stitching().to_bytes(), None),
        (_stitching().to_bytes() + b" ", "differ from the canonical bytes"),
        (_stitching(2).to_bytes(), None),
        (_stitching(1, hour=5).to_bytes(), "was changed during the verification"),
        (None, "was removed during the verification"),
        (b"{}", "cannot be decoded"),
    ],
    ids=["as written", "other bytes", "longer overlap", "another", "removed", "damaged"],
)
def test_descriptor_is_reported_if_it_is_not_the_one_that_was_read(stored: bytes | None, words: str | None) -> None:
    """Other bytes, other content and no content are findings about the descriptor."""
    stores = StitchedStores(MemoryStore({STITCHING_KEY: stored} if stored is not None else {}), lambda _: MemoryStore())
    report = verify_stitched(stores, _stitching(), (None, None), NO_TRUST_ANCHORS, lambda _: None)
    facts = [one.detail for one in report.whole.findings if one.kind is FindingKind.DATASET_UNREADABLE]
    assert len(facts) == (words is not None)
    assert all(words is not None and words in fact for fact in facts)
