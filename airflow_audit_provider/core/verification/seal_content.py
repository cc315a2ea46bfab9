"""Content of a seal: what it names, its canonical bytes, and how they are read.

Invariant: bytes that differ from the canonical bytes of their content are no seal, if the whole seal is read.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.manifest import canonical_json, is_canonical
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, PARTITION_START, seal_key
from airflow_audit_provider.core.verification.replacements import AcceptedReplacement

SEAL_VERSION = 1


class SealedManifest(msgspec.Struct, frozen=True, order=True):
    """A manifest as a seal names it: key, SHA-256 of its bytes, record count."""

    key: str
    sha256: str
    record_count: int


class Seal(msgspec.Struct, frozen=True):
    """Every manifest, of every generation, whose window starts on one UTC day, sorted by key.

    ``number`` counts from 1 over the whole destination. ``previous_sha256`` is the SHA-256 of the bytes of the seal
    before, None for the first. ``replacements`` are the replacements that this seal accepts, unset if there is none.
    """

    number: int
    day: date
    manifests: tuple[SealedManifest, ...]
    previous_sha256: str | None
    sealed_at: datetime | msgspec.UnsetType = msgspec.UNSET
    replacements: tuple[AcceptedReplacement, ...] | msgspec.UnsetType = msgspec.UNSET
    seal_version: int = SEAL_VERSION

    @property
    def key(self) -> str:
        """Object key of the seal."""
        return seal_key(self.number)

    @property
    def accepted(self) -> tuple[AcceptedReplacement, ...]:
        """The replacements that this seal accepts."""
        return self.replacements or ()

    @property
    def in_force(self) -> set[str]:
        """Keys of the newest manifest of each window that the seal names: those whose parts it covers."""
        newest: dict[str, tuple[int, str]] = {}
        for named in self.manifests:
            window = named.key.rpartition(".g")[0]
            newest[window] = max(newest.get(window, (0, "")), (len(named.key), named.key))
        return {key for _, key in newest.values()}

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)


def read_seal(content: bytes) -> Seal | str:
    """Decodes a seal; returns a sentence with the reason if the bytes are not a valid seal."""
    try:
        seal = msgspec.json.decode(content, type=Seal)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        return f"The seal cannot be read ({error})."
    if seal.seal_version != SEAL_VERSION:
        return f"The seal has version {seal.seal_version}, which this release of the provider does not support."
    if [one.key for one in seal.manifests] != sorted({one.key for one in seal.manifests}):
        return "The seal does not name each manifest once and in sorted order."
    if not seal.manifests:
        return "The seal names no manifest. No run creates such a seal."
    if not _has_possible_times(seal):
        return "The seal's day or time is not in the years 1970 to 9000, or its time has no zone."
    return seal if is_canonical(seal, content) else "The seal's bytes differ from the canonical bytes of its content."


def _has_possible_times(seal: Seal) -> bool:
    """Returns whether the times can be converted between zones and added to."""
    stated = seal.sealed_at or datetime(1970, 1, 2, tzinfo=UTC)
    return stated.tzinfo is not None and all(1970 <= year <= 9000 for year in (stated.year, seal.day.year))


class FarSeals(NamedTuple):
    """Seals that may stay without their manifests: those with these keys, unless they are about a day of ``near``."""

    keys: Container[str] = ()
    near: Container[date] = ()


NO_FAR_SEALS = FarSeals()


class _FarSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A seal whose manifests stay undecoded; the bytes of one that accepts replacements do not fit."""

    number: int
    day: date
    manifests: msgspec.Raw
    previous_sha256: str | None
    seal_version: int
    sealed_at: datetime | msgspec.UnsetType = msgspec.UNSET


def read_seal_near(days: Container[date], content: bytes) -> Seal | str:
    """Decodes a seal as :func:`read_seal` does, but names no manifest if it has nothing to do with ``days``.

    That is so if the seal is about another day, and each of its manifests is in the folder of that day and is of a
    window that ends on that day or the next. Decoding the manifests takes most of the time that a seal takes.
    """
    far = _read_far_seal(content)
    if far is None or far.day in days or not _names_only_its_day(bytes(far.manifests), far.day):
        return read_seal(content)
    seal = Seal(far.number, far.day, (), far.previous_sha256, far.sealed_at)
    return seal if _has_possible_times(seal) else read_seal(content)


def _read_far_seal(content: bytes) -> _FarSeal | None:
    """Returns None for bytes that look unusual, so that they are decoded."""
    if not content.isascii() or any(unusual in content for unusual in (b"\\", b" ", b"\t", b"\n", b"\r")):
        return None
    try:
        far = msgspec.json.decode(content, type=_FarSeal)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        return None
    is_supported = far.seal_version == SEAL_VERSION and 1970 <= far.day.year <= 9000
    return far if is_supported and msgspec.json.encode(far, order="sorted") == content else None


def _names_only_its_day(manifests: bytes, day: date) -> bool:
    """Returns whether each manifest is of a window that starts on this day and ends on it or the next one.

    Counts texts instead of decoding them: without a backslash, a quote ends or begins a text.
    """
    start, end = f"{day:%Y%m%d}T".encode(), f"{day + timedelta(days=1):%Y%m%d}T".encode()
    count = manifests.count(b'"key":')
    named_count = manifests.count(f'"key":"{MANIFEST_FOLDER}{PARTITION_START}{day}/'.encode() + start)
    return 0 < count == named_count == manifests.count(b"Z-" + start) + manifests.count(b"Z-" + end)
