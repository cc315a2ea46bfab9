"""A stitched history plans each run so that no instant that a version has to cover is left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.archive.stitching import (
    Stitching,
    check_cut_over,
    extends,
    plan_streams,
    read_stitching,
    stitching_of,
)
from airflow_audit_provider.core.limits import MIN_OVERLAP, check_overlap
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import LATEST_AT, TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError, VerificationError

ACCOUNT = "0" * 32
CUT_OVER = datetime(2026, 3, 10, tzinfo=UTC)
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
BEGINS_AT = CUT_OVER - 10 * DAY
_DATE = date(2026, 3, 1)

# Lengths of adjoining windows of any kind of schedule, in microseconds.
_lengths = st.lists(st.one_of(st.just(DAY // TICK), st.integers(1, 5 * DAY // TICK)), min_size=2, max_size=12)
_overlaps = st.one_of(
    st.integers(1, 20 * 24).map(lambda hours: hours * HOUR), st.just(timedelta.max), st.just(MIN_OVERLAP)
)
# Around the cut-over to the microsecond, where an instant could fall between the versions.
_cut_overs = st.integers(-20 * DAY // TICK, 20 * DAY // TICK).map(lambda ticks: CUT_OVER + ticks * TICK)


def _stitching(cut_over: datetime = CUT_OVER, overlap: timedelta = DAY) -> Stitching:
    return stitching_of(ACCOUNT, (), cut_over, overlap)


@st.composite
def _schedules(draw: st.DrawFn) -> tuple[list[RunWindow], datetime]:
    """Adjoining windows, and a cut-over in or near one of them, often at its border to the microsecond."""
    windows = _adjoining(draw(_lengths))
    near = draw(st.sampled_from(windows)).window.start
    ticks = draw(st.one_of(st.integers(-2, 2), st.integers(-2 * DAY // TICK, 2 * DAY // TICK)))
    return windows, near + ticks * TICK


def _run(window: TimeWindow) -> RunWindow:
    return RunWindow(window, "explicit bounds", _DATE)


def _adjoining(lengths: list[int]) -> list[RunWindow]:
    windows, start = [], BEGINS_AT
    for length in lengths:
        windows.append(_run(TimeWindow(start, start + length * TICK)))
        start += length * TICK
    return windows


def _planned(stitching: Stitching, windows: list[RunWindow]) -> dict[str, list[TimeWindow]]:
    """Returns what one run for each window lands of each version."""
    landed: dict[str, list[TimeWindow]] = {"v1": [], "v2": []}
    for window in windows:
        for stream in plan_streams(stitching, [window]):
            landed[stream.version] += [each.window for each in stream.windows]
    return landed


@given(_schedules(), _overlaps)
def test_adjoining_runs_land_every_instant_that_a_version_has_to_cover(
    schedule: tuple[list[RunWindow], datetime], overlap: timedelta
) -> None:
    """Nothing is missing at the border on either side, and no instant is landed twice in one version."""
    windows, cut_over = schedule
    whole = TimeWindow(windows[0].window.start, windows[-1].window.end)
    stitching = _stitching(cut_over, overlap)
    for version, landed in _planned(stitching, windows).items():
        required = stitching.required(version, whole)
        assert all(one.end == following.start for one, following in pairwise(landed))
        if required is not None:
            assert landed[0].start <= required.start
            assert landed[-1].end >= required.end
        if version == "v2":
            assert all(one.start >= cut_over for one in landed)


@given(_schedules(), _overlaps)
def test_one_run_of_many_windows_lands_what_a_run_for_each_does(
    schedule: tuple[list[RunWindow], datetime], overlap: timedelta
) -> None:
    """A divided run, and single runs of the same windows, have the same windows in each version."""
    windows, stitching = schedule[0], _stitching(schedule[1], overlap)
    together = {one.version: [each.window for each in one.windows] for one in plan_streams(stitching, windows)}
    assert together == _planned(stitching, windows)


@given(_cut_overs, _overlaps, st.integers(-30 * DAY // TICK, 30 * DAY // TICK), st.integers(0, MIN_OVERLAP // TICK - 1))
def test_action_whose_times_differ_by_less_than_the_shortest_overlap_is_in_a_version(
    cut_over: datetime, overlap: timedelta, offset: int, apart: int
) -> None:
    """In either order: version 1 may state the earlier or the later time."""
    stitching = _stitching(cut_over, overlap)
    first = cut_over + offset * TICK
    for v1_time, v2_time in ((first, first + apart * TICK), (first + apart * TICK, first)):
        in_v1 = v1_time < stitching.v1_ends_at
        in_v2 = v2_time >= stitching.cut_over_at
        assert in_v1 or in_v2


@given(_schedules(), _overlaps)
def test_every_planned_window_has_its_place(schedule: tuple[list[RunWindow], datetime], overlap: timedelta) -> None:
    """No landed window looks out of place to a verification."""
    stitching = _stitching(schedule[1], overlap)
    for version, landed in _planned(stitching, schedule[0]).items():
        assert all(stitching.has_place_for(version, each) for each in landed)


def test_window_before_the_cut_over_has_no_place_in_version_2() -> None:
    """Nor has one that begins after the overlap in version 1."""
    stitching = _stitching()
    before, after = TimeWindow(CUT_OVER - DAY, CUT_OVER), TimeWindow(CUT_OVER + DAY, CUT_OVER + 2 * DAY)
    assert not stitching.has_place_for("v2", before)
    assert not stitching.has_place_for("v2", TimeWindow(CUT_OVER - TICK, CUT_OVER + DAY))
    assert not stitching.has_place_for("v1", after)
    assert stitching.has_place_for("v1", before)
    assert stitching.has_place_for("v2", after)


def test_straddling_day_is_whole_in_version_1_and_cut_in_version_2() -> None:
    """The cut window keeps the calendar date of the whole one, which may be that of a time zone."""
    stitching, local_date = _stitching(CUT_OVER + 6 * HOUR), date(2026, 3, 9)
    whole = _run(TimeWindow(CUT_OVER, CUT_OVER + DAY))._replace(partition_date=local_date)
    v1, v2 = plan_streams(stitching, [whole])
    assert [each.window for each in v1.windows] == [TimeWindow(CUT_OVER, CUT_OVER + DAY)]
    assert [each.window for each in v2.windows] == [TimeWindow(CUT_OVER + 6 * HOUR, CUT_OVER + DAY)]
    assert (v1.folder, v2.folder, v2.windows[0].partition_date) == ("v1/", "v2/", local_date)


def test_late_records_of_version_1_may_come_when_runs_land_version_2_only() -> None:
    """Those of version 2 need a window before, which is none before the cut-over."""
    stitching = _stitching()
    assert stitching.may_have_late_records("v1", CUT_OVER + 400 * DAY)
    assert not stitching.may_have_late_records("v2", CUT_OVER)
    assert stitching.may_have_late_records("v2", CUT_OVER + TICK)


def test_descriptor_comes_back_as_it_was_written() -> None:
    """Also without an end of the overlap; filters have one name for both versions."""
    filters = (("actor.email", "ann@example.com"), ("zone.name", "example.com"))
    for overlap in (DAY, timedelta.max):
        written = stitching_of(ACCOUNT, filters, CUT_OVER, overlap)
        assert read_stitching(written.to_bytes()) == written
        other_names = [(name.replace(".", "_"), value) for name, value in filters]
        assert stitching_of(ACCOUNT, other_names, CUT_OVER, overlap) == written
    endless = _stitching(overlap=timedelta.max)
    assert endless.v1_ends_at == LATEST_AT
    assert "overlap no end" in str(endless)


def _changed(before: bytes, after: bytes) -> bytes:
    content = _stitching().to_bytes()
    assert before in content
    return content.replace(before, after)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be decoded"),
        (b"[1]", "cannot be decoded"),
        (_changed(b"00:00:00Z", b"00:00:00"), "no time zone"),
        (_changed(b"86400", b"-86400"), "longer than zero"),
        (_changed(b'"stitching_version":1', b'"stitching_version":2'), "version 2.*Upgrade"),
    ],
)
def test_damaged_descriptor_is_refused(content: bytes, said: str) -> None:
    """The error says what to do."""
    with pytest.raises(VerificationError, match=said):
        read_stitching(content)


def test_descriptor_with_a_huge_overlap_has_no_overflow() -> None:
    """Anybody who can write to the store can write the number."""
    assert read_stitching(_changed(b"86400", b"9007199254740991")).v1_ends_at == LATEST_AT


def test_longer_overlap_extends_and_a_shorter_one_is_refused() -> None:
    """The same arguments change nothing."""
    held = _stitching(overlap=30 * DAY)
    assert not extends(held, held)
    assert extends(held, _stitching(overlap=31 * DAY))
    assert extends(held, _stitching(overlap=timedelta.max))
    with pytest.raises(CommitConflictError, match=r"overlap 30 days, 0:00:00, not 29 days.*longer, but not shorter"):
        extends(held, _stitching(overlap=29 * DAY))
    with pytest.raises(CommitConflictError, match="overlap no end, not 1 day"):
        extends(_stitching(overlap=timedelta.max), _stitching())


def test_other_cut_over_account_or_filter_is_refused_also_with_a_longer_overlap() -> None:
    """Each difference is named, and so is the remedy."""
    asked = stitching_of("1" * 32, [("zone_name", "a.example")], CUT_OVER + DAY, 3 * DAY)
    with pytest.raises(CommitConflictError) as caught:
        extends(_stitching(), asked)
    for words in ("account 0000", "filters none, not zone_name=a.example", "cut_over 2026-03-10T00:00:00Z, not"):
        assert words in str(caught.value)


def test_cut_over_before_the_history_of_version_2_is_refused() -> None:
    """The instant itself is accepted."""
    check_cut_over(CUT_OVER, CUT_OVER)
    with pytest.raises(ConfigurationError, match=r"before the history of version 2.*v2_history_start"):
        check_cut_over(CUT_OVER - TICK, CUT_OVER)


@pytest.mark.parametrize("overlap", [timedelta(0), MIN_OVERLAP - TICK, MIN_OVERLAP + TICK, -DAY, 3600, None])
def test_invalid_overlap_is_refused(overlap: object) -> None:
    """Anything below an hour could lose an action at the cut-over."""
    with pytest.raises(ConfigurationError, match="at least 1:00:00"):
        check_overlap(overlap)


@pytest.mark.parametrize("overlap", [MIN_OVERLAP, DAY, timedelta.max])
def test_valid_overlap_is_accepted(overlap: timedelta) -> None:
    """From an hour to no end."""
    check_overlap(overlap)


def test_descriptor_of_a_later_release_asks_for_an_upgrade() -> None:
    """Its fields may differ; removing it would lose what it states."""
    with pytest.raises(VerificationError, match=r"has version 2.*Upgrade"):
        read_stitching(b'{"cut_over":"2026-03-10","stitching_version":2}')
