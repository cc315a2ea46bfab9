"""Times of seals: what a time stamp proves about its own and earlier seals, and what contradicts it."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from airflow_audit_provider.core.archive.object_keys import seal_key, timestamp_key
from airflow_audit_provider.core.verification.seal_content import SealedManifest
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.core.verification.timestamps import SealTimes, seal_times_table, unstamped

DAY_1 = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def response(content: bytes, at: datetime) -> bytes:
    """Returns what the verifier of these tests takes for a time stamp."""
    return f"{at.isoformat()} {hashlib.sha256(content).hexdigest()}".encode()


class Verifier:
    """Verifier of such responses."""

    def verify(self, content: bytes, stamp: bytes) -> datetime | str:
        """Returns the time, or why not."""
        at, digest = stamp.decode().split()
        return datetime.fromisoformat(at) if digest == hashlib.sha256(content).hexdigest() else "Wrong."


def chain(*stamps: datetime | None, sealed_at: datetime | None = None) -> dict[str, bytes]:
    """Returns seals of consecutive days, each with a time stamp of the given time, or with none."""
    objects: dict[str, bytes] = {}
    for number, at in enumerate(stamps, 1):
        day = DAY_1.date() + timedelta(days=number - 1)
        key = f"_manifests/dt={day}/{day:%Y%m%d}T000000Z-{day:%Y%m%d}T120000Z.g0001.json"
        made = SealChain(objects).next_seal(day, [_named(key)], sealed_at)
        assert made is not None
        objects[made.key] = made.to_bytes()
        if at is not None:
            objects[timestamp_key(number)] = response(objects[made.key], at)
    return objects


def _named(key: str) -> SealedManifest:
    return SealedManifest(key, "ab" * 32, 1)


def kinds(objects: dict[str, bytes]) -> list[str]:
    """Returns the kinds of findings with the verifier."""
    return [str(found.kind) for found in SealTimes(SealChain(objects), Verifier()).findings]


def proved(objects: dict[str, bytes]) -> list[datetime | None]:
    """Returns when each seal is proved to have existed."""
    return [one.proved_at for one in SealTimes(SealChain(objects), Verifier()).times]


def test_time_stamp_proves_its_seal_and_those_before() -> None:
    """The earliest time stamp of a seal or a later one counts; what follows the newest time stamp is not proved."""
    first, third = DAY_1 + 25 * HOUR, DAY_1 + 73 * HOUR
    assert proved(chain(first, None, third, None)) == [first, third, third, None]
    assert kinds(chain(first, None, third, None)) == ["timestamp_missing"]
    assert kinds(chain(first, None, third)) == []


def test_later_time_stamp_of_an_earlier_seal_does_not_count() -> None:
    """A seal that a later one already proves is not younger because somebody stamped it again."""
    early, late = DAY_1 + 25 * HOUR, DAY_1 + 500 * HOUR
    assert proved(chain(late, early)) == [early, early]


def test_time_stamp_beyond_a_break_of_the_chain_proves_nothing() -> None:
    """A seal that does not contain the digest of the one before says nothing about it."""
    objects = chain(None, None, DAY_1 + 80 * HOUR)
    objects[seal_key(1)] += b" "
    assert proved(objects) == [DAY_1 + 80 * HOUR] * 2
    objects = chain(None, None, DAY_1 + 80 * HOUR)
    other = msgspec.structs.replace(SealChain(objects).seals[0], day=date(2026, 10, 1))
    objects[seal_key(1)] = other.to_bytes()
    assert proved(objects) == [None, DAY_1 + 80 * HOUR, DAY_1 + 80 * HOUR]


def test_wrong_time_stamp_is_severe_and_proves_nothing() -> None:
    """A time stamp of another content is a finding, and its seal is then not proved."""
    objects = chain(None)
    objects[timestamp_key(1)] = response(b"other", DAY_1)
    assert kinds(objects) == ["timestamp_invalid", "timestamp_missing"]


def test_without_a_certificate_time_stamps_are_only_listed() -> None:
    """Without a verifier nothing is proved, and the absence of time stamps is no finding."""
    times = SealTimes(SealChain(chain(DAY_1, None)), None)
    assert [str(found.kind) for found in times.findings] == ["timestamp_unchecked"]
    assert [one.proved_at for one in times.times] == [None, None]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(0), []),
        (timedelta(minutes=-5), []),
        (timedelta(minutes=-6), ["sealed_at_contradicted"]),
        (timedelta(hours=24), []),
        (timedelta(hours=25), ["sealed_at_contradicted"]),
    ],
)
def test_stated_time_that_contradicts_the_time_stamp_is_severe(after: timedelta, expected: list[str]) -> None:
    """The stated time may differ by the clocks and by how long stamping may take, and by no more."""
    sealed_at = DAY_1 + 30 * HOUR
    assert kinds(chain(sealed_at + after, sealed_at=sealed_at)) == expected


def test_first_seal_of_a_day_that_is_proved_late_is_severe_if_a_limit_is_given() -> None:
    """A chain that is cut after the first day and written again later is late on every other day."""
    late = DAY_1 + timedelta(days=60)
    times = SealTimes(SealChain(chain(DAY_1 + 25 * HOUR, late, late)), Verifier())
    found = list(times.late_findings(timedelta(days=2)))
    assert [(str(one.kind), one.key) for one in found] == [
        ("sealed_late", "_seals/000002.tsr"),
        ("sealed_late", "_seals/000003.tsr"),
    ]
    assert list(times.late_findings(timedelta(days=90))) == []


def test_window_that_ends_after_its_day_is_due_after_its_own_end() -> None:
    """A window of a week cannot be sealed when the day of its start ends."""
    day = DAY_1.date()
    key = f"_manifests/dt={day}/{day:%Y%m%d}T000000Z-20261108T000000Z.g0001.json"
    made = SealChain({}).next_seal(day, [_named(key)])
    assert made is not None
    content = made.to_bytes()
    late = {}
    for hours in (100, 170, 200):
        stamp = response(content, DAY_1 + hours * HOUR)
        times = SealTimes(SealChain({made.key: content, timestamp_key(1): stamp}), Verifier())
        late[hours] = [str(one.kind) for one in [*times.findings, *times.late_findings(24 * HOUR)]]
    assert late == {100: ["sealed_early"], 170: [], 200: ["sealed_late"]}


def test_limit_of_any_length_is_possible() -> None:
    """A limit that reaches beyond the calendar makes nothing late, and causes no error."""
    times = SealTimes(SealChain(chain(DAY_1 + 25 * HOUR)), Verifier())
    assert list(times.late_findings(timedelta.max)) == []


def test_seals_after_the_newest_time_stamp_are_to_stamp() -> None:
    """A seal before a stamped one is proved by it, and earlier than a new time stamp could."""
    assert [seal.number for seal in unstamped(SealChain(chain(None, DAY_1, None, None)))] == [3, 4]
    assert unstamped(SealChain({})) == []


def test_time_stamp_without_its_seal_is_severe() -> None:
    """A time stamp whose seal is gone is named."""
    objects = chain(DAY_1)
    del objects[seal_key(1)]
    assert [str(found.kind) for found in SealChain(objects).findings] == ["signature_orphaned"]


def test_table_shows_the_stated_beside_the_proved_time() -> None:
    """The text report has a line for each seal with a time, and nothing without one."""
    times = SealTimes(SealChain(chain(DAY_1 + HOUR, sealed_at=DAY_1)), Verifier()).times
    assert seal_times_table(times).splitlines() == [
        "seal  day         states                proved by",
        "1     2026-11-01  2026-11-01T00:00:00Z  2026-11-01T01:00:00Z",
        "",
    ]
    assert seal_times_table(SealTimes(SealChain(chain(None)), None).times) == ""
