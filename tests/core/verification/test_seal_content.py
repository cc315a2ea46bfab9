"""A seal about a day far from the range is read without its manifests, unless anything about it is unusual."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.verification.replacements import AcceptedReplacement
from airflow_audit_provider.core.verification.seal_content import Seal, SealedManifest, read_seal, read_seal_near
from airflow_audit_provider.core.windows.window import TimeWindow

DAY = date(2026, 10, 31)


def _named(start: str, end: str, generation: int = 1) -> SealedManifest:
    window = TimeWindow(datetime.fromisoformat(start), datetime.fromisoformat(end))
    return SealedManifest(WindowKeys(window, window.start.date()).manifest(generation), "ab" * 32, 3)


FIRST = _named("2026-10-31T00:00:00Z", "2026-10-31T12:00:00.5Z")
SECOND = _named("2026-10-31T12:00:00.5Z", "2026-11-01T11:00:00Z", 2)
LONG = _named("2026-10-31T12:00:00Z", "2026-11-02T00:00:00Z")
OTHER_DAY = _named("2026-11-01T00:00:00Z", "2026-11-01T12:00:00Z")
SEAL = Seal(7, DAY, (FIRST, SECOND), "cd" * 32)
ACCEPTED = AcceptedReplacement(SECOND.key, FIRST.key, "the owner", 1, 1, 0)


def _with(**changes: object) -> bytes:
    return msgspec.structs.replace(SEAL, **changes).to_bytes()


@pytest.mark.parametrize("sealed_at", [msgspec.UNSET, datetime(2026, 11, 2, tzinfo=UTC)])
def test_seal_of_another_day_has_everything_but_its_manifests(sealed_at: datetime | msgspec.UnsetType) -> None:
    """Number, day, link and time are those of the whole seal; no manifest is named."""
    content = _with(sealed_at=sealed_at)
    found = read_seal_near({date(2026, 11, 1)}, content)
    assert found == msgspec.structs.replace(SEAL, manifests=(), sealed_at=sealed_at)


def test_seal_of_a_day_of_the_range_is_read_whole() -> None:
    """The seals that the range is compared with name every manifest."""
    assert read_seal_near({DAY}, SEAL.to_bytes()) == SEAL


@pytest.mark.parametrize(
    "content",
    [
        _with(manifests=(FIRST, LONG)),
        _with(manifests=(FIRST, OTHER_DAY)),
        _with(manifests=(OTHER_DAY,)),
        _with(manifests=(SealedManifest("_dataset.json", "ab" * 32, 1),)),
        _with(replacements=(ACCEPTED,)),
    ],
    ids=["long window", "a manifest of another day", "all of another day", "no manifest", "a replacement"],
)
def test_seal_that_may_concern_other_days_is_read_whole(content: bytes) -> None:
    """A window that reaches beyond the next day, another folder or a replacement makes the seal decoded."""
    found = read_seal_near((), content)
    assert found == read_seal(content)
    assert isinstance(found, Seal)
    assert found.manifests


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        _with(manifests=()),
        _with(seal_version=2),
        _with(day=date(1969, 12, 31)),
        _with(day=date(9999, 12, 31)),
        _with(sealed_at=datetime(9001, 1, 1, tzinfo=UTC)),
        SEAL.to_bytes()[:-1],
        SEAL.to_bytes() + b"\n",
        SEAL.to_bytes().replace(b'"number"', b' "number"'),
        SEAL.to_bytes().replace(b'"number"', b'"n\\u0075mber"'),
        SEAL.to_bytes().replace(b'"number":7', b'"number":7,"note":1'),
        SEAL.to_bytes().replace(b'"number":7', b'"number":7.0'),
        SEAL.to_bytes().replace(b'"number":7,', b"").replace(b'{"day"', b'{"number":7,"day"', 1),
    ],
)
def test_unusual_bytes_are_refused_as_in_a_whole_read(content: bytes) -> None:
    """What a whole read refuses outside of the manifests is refused with the same sentence."""
    assert isinstance(read_seal(content), str)
    assert read_seal_near((), content) == read_seal(content)
