"""The commit protocol: its state table, the plan that follows it, and which of two concurrent runs wins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.commit import (
    TRANSITIONS,
    CommitEvent,
    CommitPlan,
    CommitState,
    CommittedManifest,
    StagedPart,
    check_nothing_lost,
    check_objects_present,
    next_state,
)
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError, StorageUnavailableError, VerificationError

WINDOW = TimeWindow(datetime(2026, 10, 26, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC))
KEYS = WindowKeys(WINDOW, date(2026, 10, 26))
OLD_PART = Part("old", 5, "cc", 7, 1, 2)
BLANK = Manifest(
    query=audit_query("v1", None, account_id="0" * 32),
    window=WINDOW,
    window_rule="explicit bounds",
    partition_date=KEYS.partition_date,
    file_format="jsonl",
    compression="none",
    record_count=0,
    added_count=0,
    records_sha256="dd",
    parts=(),
    fetch=ReadStats(),
)
COMMITTED = CommittedManifest(
    msgspec.structs.replace(BLANK, parts=(OLD_PART,), record_count=7, added_count=7, generation=3), "key", "ee"
)
STAGED = [StagedPart(f"_staging/{number}", 10, f"{number}" * 64, 4, 10 * number, 10 * number + 9) for number in (1, 2)]

EXPECTED = {
    (CommitState.PLANNED, CommitEvent.NOTHING_NEW): CommitState.UNCHANGED,
    (CommitState.PLANNED, CommitEvent.PARTS_STAGED): CommitState.STAGED,
    (CommitState.STAGED, CommitEvent.PARTS_PUBLISHED): CommitState.PUBLISHED,
    (CommitState.PUBLISHED, CommitEvent.MANIFEST_CREATED): CommitState.COMMITTED,
    (CommitState.PUBLISHED, CommitEvent.MANIFEST_EXISTS): CommitState.LOST_RACE,
    (CommitState.LOST_RACE, CommitEvent.WINNER_AGREES): CommitState.ALREADY_COMMITTED,
    (CommitState.LOST_RACE, CommitEvent.WINNER_DIFFERS): CommitState.CONFLICT,
}


@pytest.mark.parametrize(("state", "happened"), list(product(CommitState, CommitEvent)))
def test_transitions_follow_the_table(state: CommitState, happened: CommitEvent) -> None:
    """Each allowed event leads to the state in the table; every other event raises."""
    following = EXPECTED.get((state, happened))
    if following is None:
        with pytest.raises(ValueError, match=f"The event '{happened}' cannot occur in the commit state '{state}'"):
            next_state(state, happened)
    else:
        assert next_state(state, happened) is following


def _longest(state: CommitState, seen: tuple[CommitState, ...] = ()) -> int:
    """Returns the number of transitions of the longest path from a state; a cycle is an error."""
    assert state not in seen, "a circle"
    return max((1 + _longest(each, (*seen, state)) for each in TRANSITIONS[state].values()), default=0)


def test_every_path_ends() -> None:
    """Every state is in the table and reachable, no path is a cycle, and four states are final."""
    assert set(TRANSITIONS) == set(CommitState)
    reached = {CommitState.PLANNED} | {following for row in TRANSITIONS.values() for following in row.values()}
    assert reached == set(CommitState)
    assert _longest(CommitState.PLANNED) == 4
    ends = {state for state in CommitState if not TRANSITIONS[state]}
    assert ends == {CommitState.UNCHANGED, CommitState.COMMITTED, CommitState.ALREADY_COMMITTED, CommitState.CONFLICT}


def test_nothing_is_committed_before_parts_are_published() -> None:
    """Every path to a commit, of this or of another run, contains published parts."""
    without = {pair: to for pair, to in EXPECTED.items() if pair[1] is not CommitEvent.PARTS_PUBLISHED}
    reached = {CommitState.PLANNED}
    for _ in CommitState:
        reached |= {to for (state, _), to in without.items() if state in reached}
    assert reached == {CommitState.PLANNED, CommitState.STAGED, CommitState.UNCHANGED}


def _plan(
    committed: CommittedManifest | None = None, replace: bool = False, staged: list[StagedPart] | None = None
) -> CommitPlan:
    return CommitPlan(KEYS, committed, replace, STAGED if staged is None else staged, "jsonl")


@pytest.mark.parametrize(
    ("committed", "replace", "staged", "state"),
    [
        (None, False, [], CommitState.STAGED),
        (None, True, [], CommitState.STAGED),
        (None, False, STAGED, CommitState.STAGED),
        (COMMITTED, False, STAGED, CommitState.STAGED),
        (COMMITTED, True, STAGED, CommitState.STAGED),
        (COMMITTED, False, [], CommitState.UNCHANGED),
    ],
)
def test_only_an_empty_addition_commits_nothing(
    committed: CommittedManifest | None, replace: bool, staged: list[StagedPart], state: CommitState
) -> None:
    """An empty window is committed once; a second run without new records has nothing to do."""
    plan = _plan(committed, replace, staged)
    assert plan.state is state
    assert (not TRANSITIONS[plan.state]) is (state is CommitState.UNCHANGED)


def _facts(plan: CommitPlan) -> dict[str, Any]:
    manifest = plan.manifest(BLANK)
    names = ("generation", "previous_sha256", "record_count", "added_count")
    return {name: getattr(manifest, name) for name in names}


def test_first_manifest_names_the_staged_parts() -> None:
    """The first manifest names the staged parts under their final keys, in order, and no predecessor."""
    plan = _plan()
    assert plan.manifest_key == KEYS.manifest(1)
    keys = [KEYS.part(1, number, STAGED[number].sha256, "jsonl") for number in (0, 1)]
    assert plan.publications() == [("_staging/1", keys[0]), ("_staging/2", keys[1])]
    assert plan.manifest(BLANK).parts == (
        Part(keys[0], 10, "1" * 64, 4, 10, 19),
        Part(keys[1], 10, "2" * 64, 4, 20, 29),
    )
    assert _facts(plan) == {"generation": 1, "previous_sha256": None, "record_count": 8, "added_count": 8}


def test_addition_keeps_older_parts_first() -> None:
    """An addition keeps the older parts first and names its predecessor."""
    plan = _plan(COMMITTED)
    assert plan.manifest_key == KEYS.manifest(4)
    added = [key for _, key in plan.publications()]
    assert added[0] == KEYS.part(4, 0, "1" * 64, "jsonl")
    assert [part.key for part in plan.manifest(BLANK).parts] == ["old", *added]
    assert _facts(plan) == {"generation": 4, "previous_sha256": "ee", "record_count": 15, "added_count": 8}


def test_replacement_names_only_its_own_parts() -> None:
    """A replacement names its own parts instead of the older ones."""
    plan = _plan(COMMITTED, replace=True)
    assert [part.key for part in plan.manifest(BLANK).parts] == [key for _, key in plan.publications()]
    assert _facts(plan) == {"generation": 4, "previous_sha256": "ee", "record_count": 8, "added_count": 8}


@pytest.mark.parametrize("count", [0, 6, 7, 8])
def test_replacement_with_fewer_records_fails(count: int) -> None:
    """A replacement with fewer records than are committed is an error; the same number is accepted."""
    staged = [msgspec.structs.replace(STAGED[0], record_count=count)] if count else []
    if count >= 7:
        assert _plan(COMMITTED, replace=True, staged=staged).state is CommitState.STAGED
        return
    with pytest.raises(VerificationError, match=rf"no longer returns {7 - count} committed records? .* \(key\)\."):
        _plan(COMMITTED, replace=True, staged=staged)


def _lost_race() -> tuple[CommitPlan, Manifest]:
    """Returns a plan that lost the race, and its own manifest."""
    plan = _plan()
    plan.note(CommitEvent.PARTS_PUBLISHED)
    plan.note(CommitEvent.MANIFEST_EXISTS)
    return plan, plan.manifest(BLANK)


def test_winner_with_the_same_records_is_no_conflict() -> None:
    """Another run's commit of the same records is accepted, whatever its statistics and part sizes."""
    plan, mine = _lost_race()
    theirs = msgspec.structs.replace(mine, fetch=ReadStats(request_count=9), parts=(OLD_PART,))
    winner = CommittedManifest(theirs, "theirs", "ff")
    assert plan.agreed_winner(winner, mine) is winner
    assert plan.state is CommitState.ALREADY_COMMITTED


@pytest.mark.parametrize("change", [None, {"record_count": 9}, {"generation": 2}, {"records_sha256": "00"}])
def test_winner_with_other_records_is_a_conflict(change: dict[str, Any] | None) -> None:
    """Another run's commit of other records, or one that is not visible, is a conflict that is not retryable."""
    plan, mine = _lost_race()
    winner = None if change is None else CommittedManifest(msgspec.structs.replace(mine, **change), "theirs", "ff")
    with pytest.raises(CommitConflictError, match="Run the window again") as caught:
        plan.agreed_winner(winner, mine)
    assert (caught.value.key, caught.value.retryable) == (KEYS.manifest(1), False)
    assert plan.state is CommitState.CONFLICT


def test_plan_that_lost_no_race_has_no_winner() -> None:
    """Only a plan that lost the race can be compared with a winner."""
    plan = _plan()
    mine = plan.manifest(BLANK)
    with pytest.raises(ValueError, match="'the existing manifest has the same records' cannot occur"):
        plan.agreed_winner(CommittedManifest(mine, "theirs", "ff"), mine)


def test_replacement_that_lacks_records_fails() -> None:
    """The error counts the records that would be lost and names the committed manifest."""
    lost = r"no longer returns 2 committed records? .* \(key\)\. Nothing was replaced\. Remove replace=True"
    with pytest.raises(VerificationError, match=lost):
        check_nothing_lost(COMMITTED, 2)
    check_nothing_lost(COMMITTED, 0)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: check_nothing_lost(COMMITTED, 2, is_erasure=True),
        lambda: CommitPlan(KEYS, COMMITTED, True, STAGED[:1], "jsonl", is_erasure=True),
    ],
)
def test_erasure_that_lacks_records_says_how_to_remove_them(refused: Callable[[], None]) -> None:
    """Keeping the records, or another destination, is no remedy for somebody who has to remove them."""
    with pytest.raises(VerificationError, match=r"Nothing was erased.*delete the window's parts") as caught:
        refused()
    assert "replace=True" not in str(caught.value)


def test_absent_parts_are_retryable_only_before_the_manifest() -> None:
    """Before the manifest exists nothing is committed, after it the commit is damaged."""
    with pytest.raises(StorageUnavailableError, match="does not list 2 parts") as caught:
        check_objects_present(["a", "b"])
    assert (caught.value.key, caught.value.retryable) == ("a", True)
    with pytest.raises(VerificationError, match="while m was created"):
        check_objects_present(["a"], "m")
    check_objects_present([])
    check_objects_present([], "m")
