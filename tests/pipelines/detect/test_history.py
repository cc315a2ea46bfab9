"""Rules that look at earlier records: across windows, with late records, in any order of windows, and after kills."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, parse_event_time
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.formats.sigma.rules import DetectionRule
from airflow_audit_provider.pipelines.backtest import backtest
from airflow_audit_provider.pipelines.detect import DetectSpec, detect
from airflow_audit_provider.pipelines.sigma_rules import SIGMA, load_sigma_rules, run_sigma_rules
from tests.pipelines.detect.detecting import NOW, given, land
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.verify.dataset import DAY_1
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)
SEARCH = """
title: {title}
name: {name}
id: {id}
status: test
level: high
logsource:
    product: cloudflare
    service: audit
detection:
    done:
        action_type: {action}
    condition: done
"""
COUNT = """
---
title: Three deletions within 90 minutes
id: 00000000-0000-4000-8000-00000000000c
status: test
level: high
correlation:
    type: event_count
    rules:
        - gone
    group-by:
        - actor_id
    timespan: 90m
    condition:
        gte: 3
"""
FIRST = """
first_seen:
    field: actor_network
    group-by:
        - actor_id
    timespan: 5h
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectionRule, ...]:
    """A rule that counts deletions, and one that finds a login from a new network."""
    folder = tmp_path_factory.mktemp("rules")
    gone = SEARCH.format(title="Gone", name="gone", id="00000000-0000-4000-8000-00000000000a", action="delete")
    (folder / "count.yml").write_text(gone.strip() + COUNT)
    new = SEARCH.format(title="New", name="new", id="00000000-0000-4000-8000-00000000000b", action="login")
    (folder / "first.yml").write_text(new.strip() + FIRST)
    return load_sigma_rules([folder])


def event(when: datetime, name: str, kind: str = "delete", ip: str = "192.0.2.1") -> AuditRecord:
    """Returns a record of one actor."""
    at = format_instant(when)
    raw = {"id": name, "when": at, "action": {"type": kind, "result": True}, "actor": {"id": "ann", "ip": ip}}
    return AuditRecord(parse_event_time(at), name, json.dumps(raw).encode())


def hour(number: int) -> TimeWindow:
    """Returns an hourly window."""
    return TimeWindow(DAY_1 + number * HOUR, DAY_1 + (number + 1) * HOUR)


def run(store: Store, rules: tuple[DetectionRule, ...], attempt_id: str = "one") -> None:
    """Runs the rules on everything."""
    spec = DetectSpec(rules, NOW, DAY_1, attempt_id)
    detect(spec, store, SIGMA, lambda _: None)


def found(store: Store) -> list[str]:
    """Returns the ids of the records with alerts."""
    return sorted(name for _, name in given(store))


def truth(records: list[AuditRecord], rules: tuple[DetectionRule, ...]) -> list[str]:
    """Returns the ids of the records for which rules fire, with all records in one table."""
    matches = run_sigma_rules(ApiVersion.V1, sorted(records), rules)
    return sorted(record.id for _, record in matches)


def test_history_count_over_two_windows(rules: tuple[DetectionRule, ...]) -> None:
    """The record that completes a count gets the alert, also if the others are in the window before it."""
    store = MemoryStore()
    land(store, hour(0), [event(DAY_1 + 0.9 * HOUR, "d1"), event(DAY_1 + 0.95 * HOUR, "d2")])
    run(store, rules)
    assert found(store) == []
    land(store, hour(1), [event(DAY_1 + 1.1 * HOUR, "d3")])
    run(store, rules)
    run(store, rules)
    assert found(store) == ["d3"]


def test_history_late_record_completes_a_later_count(rules: tuple[DetectionRule, ...]) -> None:
    """A late record makes a record of a later window fire, although that window has no new generation."""
    store = MemoryStore()
    land(store, hour(0), [event(DAY_1 + 0.9 * HOUR, "d1")])
    land(store, hour(1), [event(DAY_1 + 1.1 * HOUR, "d3")])
    run(store, rules)
    land(store, hour(0), [event(DAY_1 + 0.95 * HOUR, "d2")])
    run(store, rules)
    assert found(store) == ["d3"]


def test_history_late_record_while_a_rule_is_off_completes_a_later_count(rules: tuple[DetectionRule, ...]) -> None:
    """A rule that is switched on again judges the windows behind a late record that it has not seen."""
    store = MemoryStore()
    land(store, hour(0), [event(DAY_1 + 0.9 * HOUR, "d1")])
    land(store, hour(1), [event(DAY_1 + 1.1 * HOUR, "d3")])
    run(store, rules)
    land(store, hour(0), [event(DAY_1 + 0.95 * HOUR, "d2")])
    for used in (rules[:1], rules[1:]):
        run(store, used)
    run(store, rules)
    run(store, rules)
    assert found(store) == ["d3"]


def test_history_first_seen_looks_at_earlier_windows(rules: tuple[DetectionRule, ...]) -> None:
    """A login from a known network gives no alert, and one from a new network does."""
    store = MemoryStore()
    for number, ip in enumerate(["192.0.2.1", "192.0.2.9", "198.51.100.1", "192.0.2.7"]):
        land(store, hour(number), [event(DAY_1 + (number + 0.5) * HOUR, f"l{number}", "login", ip)])
        run(store, rules)
    assert found(store) == ["l2"]


def history(chance: random.Random) -> list[AuditRecord]:
    """Returns random records of eight hours."""
    networks = ["192.0.2.1", "198.51.100.1", "203.0.113.1"]
    return [
        event(
            DAY_1 + chance.randrange(8 * 3600) * timedelta(seconds=1),
            f"r{number}",
            chance.choice(["delete", "login"]),
            chance.choice(networks),
        )
        for number in range(30)
    ]


@pytest.mark.parametrize("seed", [0, *(pytest.param(one, marks=pytest.mark.nightly) for one in range(1, 25))])
def test_history_in_any_order_leaves_out_no_alert(rules: tuple[DetectionRule, ...], seed: int) -> None:
    """What fires on all records has one alert in any order of windows, also if parts are damaged for a while."""
    chance = random.Random(seed)
    records = history(chance)
    expected = truth(records, rules)
    ordered, mixed = MemoryStore(), MemoryStore()
    for number in range(8):
        land(ordered, hour(number), [one for one in records if hour(number).contains(one.event_ns)])
        run(ordered, rules)
    assert found(ordered) == expected
    tallies = backtest(ordered, rules, SIGMA, (None, None)).tallies
    assert sum(one.by_day.total() for one in tallies.values()) == len(expected)
    chance.shuffle(records)
    for start in range(0, len(records), 10):
        some = records[start : start + 10]
        for number in chance.sample(range(8), 8):
            if inside := [one for one in some if hour(number).contains(one.event_ns)]:
                land(mixed, hour(number), sorted(inside))
        parts = sorted(key for key in mixed.objects if key.startswith("dt=")) if chance.random() < 0.5 else []
        intact = {key: mixed.objects[key] for key in chance.sample(parts, min(1, len(parts)))}
        mixed.objects.update(dict.fromkeys(intact, b"damaged"))
        with suppress(VerificationError):
            try:
                run(CrashingStore(mixed, CrashPoint(chance.randrange(80))), rules, f"{start}")
            except KilledError:
                run(mixed, rules, f"{start}+")
        mixed.objects.update(intact)
    run(mixed, rules)
    assert len(found(mixed)) == len(set(given(mixed)))
    assert set(expected) <= set(found(mixed))


def damaged(store: MemoryStore, of: TimeWindow) -> tuple[str, bytes]:
    """Damages the newest part of a window; returns its key and what it was."""
    name = f"{of.start:%Y%m%dT%H%M%SZ}-{of.end:%Y%m%dT%H%M%SZ}"
    key = max(key for key in store.objects if key.startswith("dt=") and name in key)
    content = store.objects[key]
    store.objects[key] = content[:-1]
    return key, content


def test_history_unreadable_window_is_in_no_count_of_later_ones(rules: tuple[DetectionRule, ...]) -> None:
    """A rule that is added runs on no window while it cannot read the one before; restored, that is in its count."""
    store = MemoryStore()
    land(store, hour(0), [event(DAY_1 + 0.9 * HOUR, "d1"), event(DAY_1 + 0.95 * HOUR, "d2")])
    land(store, hour(1), [event(DAY_1 + 1.1 * HOUR, "d3")])
    run(store, rules[:1])
    key, content = damaged(store, hour(0))
    with pytest.raises(VerificationError, match="differs from its manifest"):
        run(store, rules)
    store.objects[key] = content
    run(store, rules)
    assert found(store) == ["d3"]


@pytest.mark.parametrize("is_gone", [False, True], ids=["damaged part", "lost manifest"])
def test_history_unreadable_later_window_is_judged_again(rules: tuple[DetectionRule, ...], is_gone: bool) -> None:
    """A late record stays pending while a window behind it, whose count it completes, cannot be read."""
    store = MemoryStore()
    land(store, hour(0), [event(DAY_1 + 0.9 * HOUR, "d1")])
    land(store, hour(1), [event(DAY_1 + 1.1 * HOUR, "d3")])
    run(store, rules)
    land(store, hour(0), [event(DAY_1 + 0.95 * HOUR, "d2")])
    if is_gone:
        key = max(key for key in store.objects if key.startswith("_manifests/"))
        content = store.objects.pop(key)
    else:
        key, content = damaged(store, hour(1))
    with pytest.raises(VerificationError, match="is gone" if is_gone else "differs from its manifest"):
        run(store, rules)
    store.objects[key] = content
    run(store, rules)
    assert found(store) == ["d3"]


def test_history_backtest_of_a_range_reads_the_span_before_it(rules: tuple[DetectionRule, ...]) -> None:
    """A back-test finds in a range what it finds there in a back-test of everything."""
    store = MemoryStore()
    land(store, hour(0), [event(DAY_1 + 0.2 * HOUR, "l0", "login"), event(DAY_1 + 0.9 * HOUR, "d1")])
    land(store, hour(1), [event(DAY_1 + 1.1 * HOUR, "d2"), event(DAY_1 + 1.2 * HOUR, "d3")])
    land(store, hour(2), [event(DAY_1 + 2.1 * HOUR, "l1", "login"), event(DAY_1 + 2.2 * HOUR, "l2", "login", "::1")])
    for first, expected in ((1, 2), (2, 1)):
        found_ = backtest(store, rules, SIGMA, (hour(first).start, None))
        assert sum(one.by_day.total() for one in found_.tallies.values()) == expected
        assert found_.windows == [hour(number) for number in range(first, 3)]


ALONE = SEARCH.format(title="Any", name="any", id="00000000-0000-4000-8000-00000000000d", action="delete")


@pytest.fixture(scope="module")
def three(rules: tuple[DetectionRule, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectionRule, ...]:
    """Those two rules, and one that judges each record alone."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "alone.yml").write_text(ALONE.strip())
    return (*rules, *load_sigma_rules([folder]))


def three_deletions(number: int) -> list[AuditRecord]:
    """Returns a login and three deletions within one hour; the third one completes the count."""
    start = DAY_1 + number * HOUR
    deletions = [event(start + minutes * HOUR / 60, f"h{number}-{minutes}") for minutes in (10, 20, 30)]
    return [*deletions, event(start + 40 * HOUR / 60, f"h{number}-in", "login", f"{number}.0.2.1")]


def alerts_by_rule(store: MemoryStore) -> dict[str, set[int]]:
    """Returns the hours with an alert of each rule, by the last character of its id."""
    by_rule: dict[str, set[int]] = {"c": set(), "b": set(), "d": set()}
    for key, name in given(store):
        by_rule[key.partition("@")[0][-1]].add(int(name.partition("-")[0][1:]))
    return by_rule


def test_history_damaged_part_holds_only_rules_that_look_back_at_it(three: tuple[DetectionRule, ...]) -> None:
    """Rules run on each window whose records do not look back at the damaged part; restored, the others run, too."""
    store = MemoryStore()
    # Three hours apart, each count is lower in between, and each login has one within the five hours before it.
    hours = range(1, 11, 3)
    for number in hours:
        land(store, hour(number), three_deletions(number))
    key, content = damaged(store, hour(1))
    for attempt in range(2):
        with pytest.raises(VerificationError, match="differs from its manifest") as caught:
            run(store, three)
        assert "on 1 window (earliest start: 2026-10-26T04:00:00Z)" in str(caught.value), attempt
        assert alerts_by_rule(store) == {"d": {4, 7, 10}, "c": {7, 10}, "b": {7, 10}}
    store.objects[key] = content
    run(store, three)
    assert alerts_by_rule(store) == {"d": set(hours), "c": set(hours), "b": {4, 7, 10}}
    assert len(given(store)) == len(set(given(store)))


@pytest.mark.parametrize("lost", ["g0001", "g0002"], ids=["whole window", "newest generation"])
def test_history_lost_manifest_holds_rules_that_look_back_at_it(three: tuple[DetectionRule, ...], lost: str) -> None:
    """A rule that looks back at a manifest that is gone waits for it, also if no listing of all manifests is due."""
    store = MemoryStore()
    land(store, hour(1), three_deletions(1))
    land(store, hour(1), [event(DAY_1 + 1.9 * HOUR, "h1-late", "login", "77.0.2.1")])
    run(store, three)
    manifests = [key for key in sorted(store.objects) if key.startswith("_manifests/")]
    gone = {key: store.objects.pop(key) for key in manifests if key >= f"{manifests[0][:-10]}{lost}"}
    land(store, hour(4), three_deletions(4))
    for _ in range(2):
        with pytest.raises(VerificationError, match=r"did not run on 1 window .*g0002.json was listed and is gone"):
            run(store, three)
        assert alerts_by_rule(store) == {"d": {1, 4}, "c": {1}, "b": {1}}
    store.objects.update(gone)
    run(store, three)
    assert alerts_by_rule(store) == {"d": {1, 4}, "c": {1, 4}, "b": {1, 4}}
    assert len(given(store)) == len(set(given(store)))
