"""Seals with time stamps of a real authority, and openssl as the reference for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.timestamps import CertificateVerifier, HttpTimestamper, TimestampAuthority
from airflow_audit_provider.exceptions import ConfigurationError, TimestampUnavailableError
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.verify.authority import Authority, served
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM, two_days
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration
SIGNER = Ed25519Signer(PRIVATE_PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority with its own root certificate."""
    return Authority(tmp_path)


@pytest.fixture
def timestamper(authority: Authority) -> Iterator[HttpTimestamper]:
    """Asks the authority, and checks each response with its certificate."""
    with served(authority) as url:
        yield HttpTimestamper(TimestampAuthority(url, certificates=(authority.root_pem,)))


@pytest.fixture
def store() -> MemoryStore:
    """A destination with two days."""
    made = MemoryStore()
    two_days(made)
    return made


def test_each_seal_has_a_time_stamp_that_openssl_verifies(
    store: MemoryStore, authority: Authority, timestamper: HttpTimestamper
) -> None:
    """Verification passes with key and certificate, and an auditor needs the seal, its time stamp and openssl."""
    assert seal(store, signer=SIGNER, timestamper=timestamper).timestamped_count == 2
    anchors = TrustAnchors(Ed25519Verifier([PUBLIC_PEM]), None, CertificateVerifier([authority.root_pem]))
    report = verify(store, anchors=anchors)
    assert report.findings == ()
    assert all(one.proved_at == one.timestamped_at is not None for one in report.seals)
    for number in (1, 2):
        content, response = (store.objects[f"_seals/00000{number}.{suffix}"] for suffix in ("json", "tsr"))
        assert authority.openssl_accepts(content, response)
        assert not authority.openssl_accepts(store.objects[f"_seals/00000{3 - number}.json"], response)
    store.objects["_seals/000001.tsr"] = store.objects["_seals/000002.tsr"]
    assert [str(found.kind) for found in verify(store, anchors=anchors).findings] == ["timestamp_invalid"]


def test_authority_that_fails_leaves_sealed_and_signed_seals(
    store: MemoryStore, authority: Authority, timestamper: HttpTimestamper
) -> None:
    """The run fails so that it is retried; nothing is lost, and the next run stamps the same seals."""
    authority.mode = 503
    with pytest.raises(TimestampUnavailableError):
        seal(store, signer=SIGNER, timestamper=timestamper)
    assert sorted(key for key in store.objects if key.startswith("_seals/")) == [
        *("_seals/000001.json", "_seals/000001.sig", "_seals/000002.json", "_seals/000002.sig")
    ]
    authority.mode = "good"
    done = seal(store, signer=SIGNER, timestamper=timestamper)
    assert (len(done.created), done.signed_count, done.timestamped_count) == (0, 0, 2)


def test_limit_without_a_certificate_fails(store: MemoryStore) -> None:
    """A limit without a certificate is an error, because nothing proves the time of a seal."""
    with pytest.raises(ConfigurationError, match="sealed_within"):
        verify(store, anchors=TrustAnchors(sealed_within=timedelta(days=1)))
