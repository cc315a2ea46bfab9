"""Verify of one day makes few calls to S3: upper bounds, counted at the client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from operator import le
from typing import Any

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.verification.findings import FindingKind
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import VerifyReport, verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.adapters.storage.real_stores import Servers
from tests.pipelines.pull.counted_calls import Bucket, CountedCalls
from tests.pipelines.pull.landing import START, fake_with, land, pull_spec, reader_of
from tests.pipelines.verify.dataset import PRIVATE_PEM

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)


@pytest.fixture
def bucket(servers: Servers) -> Bucket:
    """A destination of ten days with one window each."""
    found, fake = Bucket(servers("s3-moto")), fake_with(ManualClock(), records_per_day=20)
    for number in range(-10, 0):
        start = START + number * DAY
        land(pull_spec(start=start, end=start + DAY), reader_of(fake, ManualClock()), found.store)
    return found


def _verified(bucket: Bucket, days: int = 1) -> tuple[VerifyReport, CountedCalls]:
    reports: list[VerifyReport] = []
    calls = bucket.calls_of(lambda: reports.append(verify(bucket.store, START - days * DAY, START)))
    return reports[0], calls


def test_one_day_takes_four_calls_and_its_parts(bucket: Bucket) -> None:
    """Three listings, the manifest and the part; the descriptor is proved by the digest that the listing states."""
    report, calls = _verified(bucket)
    assert (report.window_count, report.part_count, report.findings) == (1, 1, ())
    assert len(calls.calls) <= 4 + report.part_count, str(calls)


def test_each_further_day_adds_its_partition_its_manifest_and_its_parts(bucket: Bucket) -> None:
    """The folders of manifests are listed by one call, however many days there are."""
    report, calls = _verified(bucket, days=5)
    assert (report.window_count, report.findings) == (5, ())
    assert len(calls.calls) <= 2 + 3 * 5, str(calls)


def test_one_sealed_day_takes_the_seals_of_all_days_with_two_calls(bucket: Bucket) -> None:
    """They are listed, and their index is read; the listing states the digest of the seal that proves it."""
    seal(bucket.store)
    report, calls = _verified(bucket)
    assert (report.window_count, report.seal_count, report.findings) == (1, 10, ())
    assert len(calls.calls) <= 7, str(calls)


@pytest.mark.parametrize("signer", [None, Ed25519Signer(PRIVATE_PEM)], ids=["unsigned", "signed"])
def test_sealing_one_day_takes_eight_calls_and_one_for_its_signature(
    bucket: Bucket, signer: Ed25519Signer | None
) -> None:
    """The index has all earlier seals, a created seal is not read back, and older indexes stay for a later run."""
    days = [(START - number * DAY).date() for number in range(10, 0, -1)]
    counts = [len(bucket.calls_of(partial(seal, bucket.store, day, signer)).calls) for day in days[:4]]
    most = [6, 7, 8, 10] if signer is None else [7, 9, 11, 14]
    assert all(map(le, counts, most)), counts
    for day in days[4:]:
        calls = bucket.calls_of(partial(seal, bucket.store, day, signer))
        assert len(calls.calls) <= 8 + bool(signer), str(calls)
        assert [call.operation for call in calls.calls if "_seals/0000" in call.about] == (
            ["PutObject"] * (1 + bool(signer))
        ), str(calls)


def _remove(store: Any) -> None:
    store.remove([DATASET_KEY])


def _replace(content: bytes, store: Any) -> None:
    store.remove([DATASET_KEY])
    store.create(DATASET_KEY, content)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (_remove, FindingKind.DATASET_MISSING),
        (partial(_replace, b"{}"), FindingKind.DATASET_UNREADABLE),
        (lambda store: _replace(store.read(DATASET_KEY) + b" ", store), FindingKind.DATASET_UNREADABLE),
        (
            lambda store: _replace(store.read(DATASET_KEY).replace(b'"jsonl"', b'"csv"'), store),
            FindingKind.WINDOW_FOREIGN,
        ),
    ],
)
def test_descriptor_with_another_digest_is_read_and_reported(
    damage: Callable[[Any], None], kind: FindingKind, bucket: Bucket
) -> None:
    """Only the exact bytes that the window's own manifest calls for are taken without reading them."""
    damage(bucket.store)
    report, calls = _verified(bucket)
    assert [found.kind for found in report.findings] == [kind]
    assert [call.about for call in calls.calls if DATASET_KEY in call.about and call.operation == "GetObject"]


def test_descriptor_of_a_range_without_windows_is_checked(bucket: Bucket) -> None:
    """No manifest tells its digest, so it is read."""
    _replace(b"{}", bucket.store)
    report = verify(bucket.store, START + 5 * DAY, START + 6 * DAY)
    assert {found.kind for found in report.findings} >= {FindingKind.DATASET_UNREADABLE}
