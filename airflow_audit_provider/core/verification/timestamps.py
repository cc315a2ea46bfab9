"""Time stamps of seals (RFC 3161): when each seal existed, as an authority states it and not as the sealer does.

::

    seal 1 ◄── seal 2 ◄── seal 3          a seal contains the digest of the seal before it,
                 ▲           ▲            so a time stamp of seal 3 is also about 1 and 2:
              10:02       next day        1 and 2 existed by 10:02, 3 by the next day

A chain that is cut and written again, even with the signing key, gets only later time stamps.

Invariant: an instant counts as proved only if every seal from the time-stamped one back has its digest in the next one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Protocol

import msgspec

from airflow_audit_provider.core.archive.object_keys import read_manifest_key, timestamp_key
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, as_table, finding
from airflow_audit_provider.core.verification.seal_content import Seal
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.core.windows.window import TimeWindow

# By how much the clocks of sealer and authority may differ, and how long after the seal its time stamp may be made.
CLOCK_TOLERANCE = timedelta(minutes=5)
LONGEST_STAMPING = timedelta(days=1)


class Timestamper(Protocol):
    """Asks an authority for time stamps."""

    def stamp(self, content: bytes) -> bytes:
        """Returns the authority's response for the digest of ``content``, in DER."""
        ...

    def check(self, content: bytes, response: bytes) -> str | None:
        """Returns why a stored response is not a time stamp of ``content``, as a sentence; None if it is one.

        Without a certificate of the authority, it does not check who made the response.
        """
        ...


class TimestampVerifier(Protocol):
    """Verifies time stamps with certificates of authorities."""

    def verify(self, content: bytes, response: bytes) -> datetime | str:
        """Returns when ``content`` existed, or why the response does not prove it, as a sentence."""
        ...


class SealTime(msgspec.Struct, frozen=True):
    """What is known about the time of a seal.

    ``sealed_at`` is what the sealer states, if anything. ``timestamped_at`` is the time in the seal's own valid time
    stamp. ``proved_at`` is the earliest one that proves that the seal existed: its own or that of a later seal.
    """

    number: int
    day: date
    sealed_at: datetime | None
    timestamped_at: datetime | None
    proved_at: datetime | None


class SealTimes:
    """Checked time stamps of a chain; without a verifier none is checked, and nothing is proved.

    ``times`` has one entry for each readable seal, oldest first; ``findings`` are about the time stamps themselves.
    """

    def __init__(self, chain: SealChain, verifier: TimestampVerifier | None) -> None:
        self.findings: list[Finding] = []
        self._is_checked = verifier is not None
        stamped = {seal.number: at for seal in chain.seals if (at := self._stamp_of(chain, seal.number, verifier))}
        self.times = _seal_times(chain, stamped)
        self._chain = chain
        if self._is_checked:
            self.findings += [found for one in self.times for found in _time_findings(one)]
            self.findings += _early_findings(chain, self.times)

    @cached_property
    def _new_windows(self) -> dict[int, list[TimeWindow]]:
        return _new_windows(self._chain)

    def late_findings(self, sealed_within: timedelta) -> Iterator[Finding]:
        """Yields a finding for each seal that is proved too late for a window that no seal before it names.

        Each window has to be proved so soon after the end of the UTC day on which it starts, or after its own end if
        that is later. A seal of another window of the day does not count: it says nothing about this one.
        """
        for one in self.times:
            proved_at = one.proved_at
            late = [
                window
                for window in self._new_windows[one.number]
                if proved_at is not None and proved_at - _ended_at(window) > sealed_within
            ]
            if late:
                fact = (
                    f"Seal {one.number} is the first that names {_windows(late)} of {one.day}, but it is proved only "
                    f"at {_text(proved_at)}."
                )
                yield finding(FindingKind.SEALED_LATE, timestamp_key(one.number), fact)

    def _stamp_of(self, chain: SealChain, number: int, verifier: TimestampVerifier | None) -> datetime | None:
        """Returns the time in a seal's valid time stamp, None if there is none; adds a finding otherwise."""
        response = chain.timestamp(number)
        if response is None:
            return None
        if verifier is None:
            fact = "The time stamp was not checked."
            self.findings.append(finding(FindingKind.TIMESTAMP_UNCHECKED, timestamp_key(number), fact))
            return None
        checked = verifier.verify(chain.contents[number], response)
        if isinstance(checked, str):
            self.findings.append(finding(FindingKind.TIMESTAMP_INVALID, timestamp_key(number), checked))
            return None
        return checked


def invalid_timestamps(chain: SealChain, timestamper: Timestamper) -> list[Finding]:
    """Returns a finding for each stored time stamp that does not count."""
    stored = [(seal.number, chain.timestamp(seal.number)) for seal in chain.seals]
    reasons = {
        number: timestamper.check(chain.contents[number], response)
        for number, response in stored
        if response is not None
    }
    return [
        finding(FindingKind.TIMESTAMP_INVALID, timestamp_key(number), reason)
        for number, reason in reasons.items()
        if reason is not None
    ]


def unstamped(chain: SealChain, invalid_keys: Container[str] = ()) -> list[Seal]:
    """Returns the readable seals to stamp, oldest first: those after the newest one that has a time stamp.

    A seal before that one is proved by it already, and earlier than a new time stamp could. Time stamps with
    ``invalid_keys`` do not count.
    """
    stamped = (seal.number for seal in chain.seals if chain.timestamp(seal.number) is not None)
    newest = max((number for number in stamped if timestamp_key(number) not in invalid_keys), default=0)
    return [seal for seal in chain.seals if seal.number > newest]


def _seal_times(chain: SealChain, stamped: Mapping[int, datetime]) -> tuple[SealTime, ...]:
    times: list[SealTime] = []
    proved_at, after = None, None
    for seal in reversed(chain.seals):
        if after is not None and not chain.is_linked(after):
            proved_at = None
        own = stamped.get(seal.number)
        proved_at = min((at for at in (own, proved_at) if at is not None), default=None)
        times.append(SealTime(seal.number, seal.day, seal.sealed_at or None, own, proved_at))
        after = seal
    return tuple(reversed(times))


def _windows_of(seal: Seal) -> list[TimeWindow]:
    """Returns the windows of a seal's manifests; what is no manifest of its day is a finding about the chain."""
    parsed = (read_manifest_key(named.key) for named in seal.manifests)
    return sorted({key.window for key in parsed if key is not None and key.day == seal.day})


def _new_windows(chain: SealChain) -> dict[int, list[TimeWindow]]:
    """Returns for each seal the windows that no seal before it names."""
    known: set[TimeWindow] = set()
    found: dict[int, list[TimeWindow]] = {}
    for seal in chain.seals:
        found[seal.number] = [window for window in _windows_of(seal) if window not in known]
        known.update(found[seal.number])
    return found


def _ended_at(window: TimeWindow) -> datetime:
    """Returns when a seal of a window is expected: after the UTC day on which it starts, and after its end."""
    start = window.start.astimezone(UTC)
    return max(start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1), window.end)


def _early_findings(chain: SealChain, times: Iterable[SealTime]) -> Iterator[Finding]:
    """Yields a finding for each seal that is proved to have existed before a window that it names had ended."""
    proved = {one.number: one.proved_at for one in times}
    for seal in chain.seals:
        at = proved[seal.number]
        early = [window for window in _windows_of(seal) if at is not None and window.end - at > CLOCK_TOLERANCE]
        if early:
            fact = f"Seal {seal.number} existed at {_text(at)}, but it names {_windows(early)}, which ended later."
            yield finding(FindingKind.SEALED_EARLY, timestamp_key(seal.number), fact)


def _windows(windows: Sequence[TimeWindow]) -> str:
    return str(windows[0]) if len(windows) == 1 else f"{len(windows)} windows such as {windows[0]}"


def _time_findings(one: SealTime) -> Iterable[Finding]:
    """Yields a finding for a seal that no time stamp proves, or whose stated time the time stamps contradict."""
    key = timestamp_key(one.number)
    if one.proved_at is None:
        fact = f"No valid time stamp proves when seal {one.number} existed."
        yield finding(FindingKind.TIMESTAMP_MISSING, key, fact)
    elif one.sealed_at is not None:
        after = one.proved_at - one.sealed_at
        if not -CLOCK_TOLERANCE <= after <= LONGEST_STAMPING:
            fact = (
                f"Seal {one.number} states that it was made at {_text(one.sealed_at)}, but its time stamp proves "
                f"{_text(one.proved_at)}."
            )
            yield finding(FindingKind.SEALED_AT_CONTRADICTED, key, fact)


def seal_times_table(times: Iterable[SealTime]) -> str:
    """Returns the seals whose time is stated or proved as a text table, empty if there is none."""
    known = [one for one in times if one.sealed_at or one.proved_at]
    rows = [(str(one.number), str(one.day), _text(one.sealed_at), _text(one.proved_at)) for one in known]
    return as_table([("seal", "day", "states", "proved by"), *rows]) + "\n" if rows else ""


def _text(instant: datetime | None) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if instant else "-"
