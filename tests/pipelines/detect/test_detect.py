"""Rules run once on each record for each version of a rule: late records, changed rules, races, kills, damage."""

from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest

from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.detections import alert_id, read_detection_commit
from airflow_audit_provider.exceptions import VerificationError, WarehouseBusyError
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.detect.detecting import NOW, ContainsRule, Runs, alerts, commits, given, land, run
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.verify.dataset import DAY, DAY_1, commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

ANY = ContainsRule("any")
BAD = ContainsRule("bad", b"bad")
HOUR = timedelta(hours=1)
NOTHING_BACK = timedelta(0)


def two_windows() -> MemoryStore:
    """Returns a destination with two windows of two records each."""
    store = MemoryStore()
    land(store, window(), records_in(window(), 2, "a"))
    land(store, window(1), records_in(window(1), 2, "b"))
    return store


def pairs(rule: str, *ids: str) -> list[tuple[str, str]]:
    """Returns a rule with each of some records."""
    return [(rule, one) for one in ids]


def test_detect_finds_matching_records_of_every_window() -> None:
    """An alert has the rule, the record, its window and the text for a person; other records give none."""
    store = MemoryStore()
    land(store, window(), [*records_in(window(), 2), record(DAY_1 + HOUR, "x", "bad")])
    outcome = run(store, BAD)
    (alert,) = alerts(store)
    assert (outcome.alert_count, outcome.record_count, outcome.window_count) == (1, 3, 1)
    assert (alert.rule_id, alert.record_id, alert.level, alert.advice) == ("bad", "x", "high", "What to do")
    assert alert.alert_id == alert_id("x", BAD)
    assert (alert.event_time, alert.window_start) == ("2026-10-26T01:00:00.000000Z", "2026-10-26T00:00:00Z")


def test_detect_run_again_commits_nothing() -> None:
    """A run with nothing new reads no part, gives no alert and creates no commit."""
    store, runner = two_windows(), Runs()
    run(store, ANY)
    before = dict(store.objects)
    assert run(store, ANY, runner=runner).commits == ()
    assert runner.seen == []
    assert store.objects == before


def test_detect_late_record_is_run_alone() -> None:
    """Of a window with a late record only that record is run, and earlier alerts stay as they are."""
    store, runner = two_windows(), Runs()
    run(store, ANY)
    land(store, window(), [record(DAY_1 + HOUR, "late")])
    run(store, ANY, runner=runner)
    assert runner.seen == pairs("any@1", "late")
    assert given(store) == pairs("any@1", "a0", "a1", "b0", "b1", "late")


def test_detect_replaced_window_repeats_no_alert() -> None:
    """A window that is replaced is run again, and only records without an alert get one."""
    store = two_windows()
    run(store, ANY)
    land(store, window(), records_in(window(), 3, "a"), replace=True)
    run(store, ANY)
    assert given(store) == pairs("any@1", "a0", "a1", "a2", "b0", "b1")


def test_detect_window_landed_anew_repeats_no_alert() -> None:
    """A destination that loses all but its detections, and is landed anew, gets alerts for new records only."""
    store = two_windows()
    run(store, ANY)
    for key in [key for key in store.objects if not key.startswith("_detections/")]:
        del store.objects[key]
    land(store, window(), records_in(window(), 3, "a"), NOW + HOUR)
    land(store, window(1), records_in(window(1), 2, "b"), NOW + HOUR)
    run(store, ANY, now=NOW + HOUR)
    assert given(store) == pairs("any@1", "a0", "a1", "a2", "b0", "b1")


def test_detect_added_rule_runs_from_now_on() -> None:
    """A rule that is added runs on what is committed afterwards, also late records, and on nothing before."""
    store = two_windows()
    run(store, ANY, back=NOTHING_BACK)
    run(store, ANY, BAD, back=NOTHING_BACK)
    land(store, window(), [record(DAY_1 + HOUR, "late", "bad")])
    land(store, window(2), [record(DAY_1 + 2 * DAY, "new", "bad")])
    run(store, ANY, BAD, back=NOTHING_BACK)
    assert given(store) == [*pairs("any@1", "late", "new"), *pairs("bad@1", "late", "new")]


def test_detect_added_rule_runs_back_once() -> None:
    """A rule that is added with a span to run back runs on the windows of that span, once, and no other rule does."""
    store, runner = two_windows(), Runs()
    run(store, ANY)
    run(store, ANY, BAD, back=timedelta(days=4), runner=runner)
    run(store, ANY, BAD, back=timedelta(days=4), now=NOW + HOUR, runner=runner)
    assert runner.seen == pairs("bad@1", "b0", "b1")
    run(store, ANY, BAD, runner=runner)
    assert runner.seen == pairs("bad@1", "b0", "b1", "a0", "a1")


def test_detect_new_version_of_a_rule_is_another_rule() -> None:
    """A new version runs on the span that it may run back, and its alerts have other ids than those of the old one."""
    store = two_windows()
    run(store, ANY)
    run(store, ANY._replace(version="2"))
    assert given(store) == [*pairs("any@1", "a0", "a1", "b0", "b1"), *pairs("any@2", "a0", "a1", "b0", "b1")]
    assert len({one.alert_id for one in alerts(store)}) == 8


def test_detect_rule_that_was_off_runs_on_what_it_missed() -> None:
    """A rule that is switched off and on again runs once on the records between, if it may run back."""
    store = two_windows()
    run(store, ANY, BAD)
    land(store, window(2), [record(DAY_1 + 2 * DAY, "missed", "bad")])
    land(store, window(1), [record(DAY_1 + DAY + HOUR, "late", "bad")])
    run(store, ANY)
    assert given(store)[5:] == pairs("any@1", "missed")
    run(store, ANY, BAD)
    assert given(store)[6:] == pairs("bad@1", "late", "missed")


def test_detect_first_run_notes_older_windows() -> None:
    """The first run runs rules on recent windows only, and later runs do not return to the older ones."""
    store, runner = two_windows(), Runs()
    run(store, ANY, back=timedelta(days=4), runner=runner)
    run(store, ANY, back=timedelta(days=4), now=NOW + HOUR, runner=runner)
    assert runner.seen == pairs("any@1", "b0", "b1")


def test_detect_without_commit_log_finds_windows() -> None:
    """Windows that no entry of the commit log shows are found when a run lists all manifests."""
    store = MemoryStore()
    commit(store, window(), records_in(window(), 1))
    run(store, ANY)
    commit(store, window(1), records_in(window(1), 1, "s"))
    run(store, ANY)
    assert given(store) == pairs("any@1", "r0", "s0")


def test_detect_killed_at_any_operation_gives_each_alert_once() -> None:
    """Wherever a run is killed, before or after an operation takes effect, the next one gives the missing alerts."""
    for after_effect in (False, True):
        number = 1
        while True:
            store = two_windows()
            run(store, BAD)
            land(store, window(), [record(DAY_1 + HOUR, "late", "bad")])
            land(store, window(2), records_in(window(2), 2, "bad"))
            crash = CrashPoint(number, after_effect=after_effect)
            try:
                run(CrashingStore(store, crash), BAD, ANY, attempt_id="killed")
            except KilledError:
                run(store, BAD, ANY, attempt_id="next")
                ids = ("a0", "a1", "b0", "b1", "bad0", "bad1", "late")
                assert given(store) == [*pairs("any@1", *ids), *pairs("bad@1", *ids[-3:])], crash.operations[-1]
                number += 1
                continue
            break
        assert number > 20


class _Interrupted:
    """Store that runs something once, before it creates the next commit of detections."""

    def __init__(self, store: Store, meanwhile: object) -> None:
        self._store = store
        self._meanwhile = [meanwhile]

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def create(self, key: str, content: bytes) -> bool:
        """Runs the other thing first, then creates."""
        if key.startswith("_detections/ledger/") and self._meanwhile:
            self._meanwhile.pop()()  # type: ignore[operator]  # a callable without arguments
        return self._store.create(key, content)


@pytest.mark.parametrize("is_known", [False, True], ids=["first", "later"])
def test_detect_two_runs_at_once_give_each_alert_once(is_known: bool) -> None:
    """Of two runs that detect the same records, one commits; the other begins again and finds nothing left."""
    store = two_windows()
    if is_known:
        run(store, BAD)
    slow = _Interrupted(store, lambda: run(store, ANY, attempt_id="fast"))
    run(slow, ANY, attempt_id="slow")  # type: ignore[arg-type]  # forwards everything else
    assert given(store) == pairs("any@1", "a0", "a1", "b0", "b1")
    assert all(one.attempt_id != "slow" for one in commits(store) if one.alert_files)


def test_detect_run_that_always_loses_is_retried_by_airflow() -> None:
    """A run that another one overtakes each time raises a retryable error and has given no alert."""
    store = two_windows()

    class Losing(_Interrupted):
        def create(self, key: str, content: bytes) -> bool:
            if key.startswith("_detections/ledger/"):
                before, made = commits(store)[-1], read_detection_commit(key, content)
                kept = {"months": before.months, "window_count": before.window_count, "rules": before.rules}
                other = msgspec.structs.replace(made, windows={}, alert_files=(), obsolete=(), **kept)
                other = msgspec.structs.replace(other, attempt_id="fast")
                store.create(key, other.to_bytes())
            return store.create(key, content)

    run(store, BAD)
    for number in range(9):
        land(store, window(2 + number), [record(DAY_1 + (2 + number) * DAY, f"n{number}")])
    with pytest.raises(WarehouseBusyError) as caught:
        run(Losing(store, None), ANY, attempt_id="slow")  # type: ignore[arg-type]  # forwards everything else
    assert caught.value.retryable
    assert given(store) == []


def test_detect_damaged_part_is_named_after_the_others() -> None:
    """A part that differs from its manifest fails the run after the other windows; restored, it gets its alerts."""
    store = two_windows()
    part = next(key for key in store.objects if key.startswith("dt=2026-10-26"))
    content = store.objects[part]
    store.objects[part] = content[:-1]
    with pytest.raises(VerificationError, match="differs from its manifest"):
        run(store, ANY)
    assert given(store) == pairs("any@1", "b0", "b1")
    store.objects[part] = content
    run(store, ANY)
    assert given(store) == pairs("any@1", "a0", "a1", "b0", "b1")


@pytest.mark.parametrize("folder", ["ledger", "windows"])
def test_detect_damaged_ledger_is_named(folder: str) -> None:
    """A changed commit or state fails the next run, and the error has its name."""
    store = two_windows()
    run(store, ANY)
    land(store, window(), [record(DAY_1 + HOUR, "late")])
    newest = max(
        key
        for key in store.objects
        if key.startswith(f"_detections/{folder}/2026" if folder == "windows" else "_detections/ledger/")
    )
    store.objects[newest] = b"{}"
    with pytest.raises(VerificationError, match="_detections/"):
        run(store, ANY)


def test_detect_objects_are_no_strays_to_verify() -> None:
    """A verification reports no object of detections, but a foreign one beside them."""
    store = two_windows()
    run(store, ANY)
    store.create("_detections/notes.txt", b"")
    found = [one.key for one in verify(store).findings if one.key.startswith("_detections/")]
    assert found == ["_detections/notes.txt"]


def test_detect_objects_stay_in_a_sweep() -> None:
    """A sweep of orphaned files removes no object of detections."""
    store = two_windows()
    run(store, ANY)
    before = {key for key in store.objects if key.startswith("_detections/")}
    sweep(store, NOW + 400 * DAY, timedelta(days=1))
    assert before <= store.objects.keys()


def test_sweep_removes_states_that_no_commit_can_name() -> None:
    """A sweep removes the states of killed runs with a committed number, and none if the newest commit is damaged."""
    store = two_windows()
    run(store, ANY)
    states = {key for key in store.objects if key.startswith("_detections/windows/")}
    committed, later = (f"_detections/windows/2026-10-{number:09}-0123456789abcdef.json.gz" for number in (1, 9))
    store.objects |= {committed: b"x", later: b"x"}
    assert sweep(store, NOW, dry_run=True).keys == (committed,)
    ledger = max(key for key in store.objects if key.startswith("_detections/ledger/"))
    damaged = MemoryStore(store.objects | {ledger: b"{"})
    assert sweep(damaged, NOW).keys == ()
    assert sweep(store, NOW).keys == (committed,)
    assert {key for key in store.objects if key.startswith("_detections/windows/")} == {*states, later}


def test_detect_replaced_states_are_removed() -> None:
    """Of the states that later commits replaced, at most those of the newest commit stay."""
    store = two_windows()
    for number in range(6):
        land(store, window(), [record(DAY_1 + HOUR, f"late{number}")])
        run(store, ANY, now=NOW + number * HOUR)
    assert len([key for key in store.objects if key.startswith("_detections/windows/")]) <= 2


@pytest.mark.parametrize("seed", range(3))
def test_detect_random_histories_give_each_alert_once(seed: int) -> None:
    """Windows in any order, late records, kills and rules that come and go give no alert twice and leave out none."""
    chance, store = random.Random(seed), MemoryStore()
    landed: dict[int, list[str]] = {}
    expected: set[tuple[str, str]] = set()
    rules = [ContainsRule(name, version=version) for name in "pq" for version in "12"]
    active: list[ContainsRule] = rules[:1]
    run(store, *active, back=NOTHING_BACK)
    for step in range(30):
        for _ in range(chance.randrange(3)):
            number = chance.randrange(8)
            names = [f"w{number}-{step}-{place}" for place in range(chance.randrange(1, 4))]
            at = window(number / 2).start
            land(store, window(number / 2), [record(at + timedelta(seconds=step), name) for name in names])
            landed.setdefault(number, []).extend(names)
            expected |= {(f"{rule.id}@{rule.version}", name) for rule in active for name in names}
        crash = CrashPoint(chance.randrange(60), after_effect=chance.random() < 0.5)
        try:
            run(CrashingStore(store, crash), *active, back=NOTHING_BACK, attempt_id=str(step))
        except KilledError:
            run(store, *active, back=NOTHING_BACK, attempt_id=f"{step}+")
        active = chance.sample(rules, chance.randrange(1, 5))
    assert given(store) == sorted(expected)


def test_detect_older_copy_restored_repeats_no_alert() -> None:
    """An older copy that replaces a window landed anew is run, and gives no alert again."""
    store = MemoryStore()
    land(store, window(), records_in(window(), 2, "a"))
    run(store, ANY)
    copied = {key: content for key, content in store.objects.items() if not key.startswith("_detections/")}
    for key in copied:
        del store.objects[key]
    land(store, window(), records_in(window(), 3, "a"), NOW + HOUR)
    run(store, ANY, now=NOW + HOUR)
    for key in [key for key in store.objects if key.startswith(("dt=", "_manifests/"))]:
        del store.objects[key]
    store.objects.update(copied)
    land(store, window(1), records_in(window(1), 1, "b"), NOW + 2 * HOUR)
    run(store, ANY, now=NOW + 2 * HOUR)
    assert given(store) == pairs("any@1", "a0", "a1", "a2", "b0")


def test_detect_first_run_with_a_damaged_old_manifest_runs_on_the_others() -> None:
    """A manifest that the first run cannot note fails it after the other windows have their alerts."""
    store = two_windows()
    manifest = next(key for key in store.objects if key.startswith("_manifests/dt=2026-10-26"))
    store.objects[manifest] = b"{}"
    with pytest.raises(VerificationError):
        run(store, ANY, back=timedelta(days=4))
    assert given(store) == pairs("any@1", "b0", "b1")
