"""Delivery of alerts: each notifier gets each alert once, also after failures and kills, and no rule runs for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow_audit_provider.core.archive.object_keys import detection_commit_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.alert_text import AlertMessage
from airflow_audit_provider.pipelines.alert_delivery import Delivery, DeliveryOutcome, deliver
from airflow_audit_provider.pipelines.detect import DetectSpec, detect
from airflow_audit_provider.pipelines.detection_ledger import commits_by
from airflow_audit_provider.pipelines.rule_runs import RuleEngine
from tests.pipelines.detect.detecting import ALL_TIME, NOW, ContainsRule, Runs, commits, land
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.verify.dataset import DAY, DAY_1, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

NAMES = ("Mail-1", "Slack-1")
ANY, LOW = ContainsRule("any"), ContainsRule("low", level="low")


class Inbox:
    """A notifier that notes the records it got, and fails while it is ``broken``."""

    def __init__(self) -> None:
        self.is_broken = False
        self.records: list[str] = []
        self.messages: list[AlertMessage] = []

    def __call__(self, message: AlertMessage) -> None:
        """Takes a message, or fails."""
        if self.is_broken:
            raise ConnectionError("the server does not respond")
        self.messages.append(message)
        self.records += [one["record_id"] for one in message.values["alerts"]]


def run(store: Store, inboxes: Sequence[Inbox], *rules: ContainsRule, least: str = "informational") -> DeliveryOutcome:
    """Detects, then delivers, as the operator does."""
    spec = DetectSpec(rules or (ANY,), NOW, max(NOW - ALL_TIME, DAY_1 - 400 * DAY), "one", NAMES)
    newest = detect(spec, store, RuleEngine(Runs()), lambda _: None).newest
    return deliver(store, newest, Delivery("memory", dict(zip(NAMES, inboxes, strict=True)), least, 10))


def one_window() -> MemoryStore:
    """Returns a destination with a window of two records."""
    store = MemoryStore()
    land(store, window(), records_in(window(), 2, "a"))
    return store


def test_delivery_gives_each_notifier_one_message_for_a_run() -> None:
    """Each notifier gets one message about all alerts of a run, and none from a run without alerts."""
    store, inboxes = one_window(), (Inbox(), Inbox())
    land(store, window(40), records_in(window(40), 1, "b"))
    for _ in range(3):
        run(store, inboxes)
    assert [len(one.messages) for one in inboxes] == [1, 1]
    assert [sorted(one.records) for one in inboxes] == [["a0", "a1", "b0"]] * 2


def test_delivery_that_fails_is_repeated_to_that_notifier_only() -> None:
    """A notifier that fails gets what it missed, with later alerts, once it works; the other one gets nothing twice."""
    store, good, bad = one_window(), Inbox(), Inbox()
    bad.is_broken = True
    assert list(run(store, (good, bad)).errors) == ["Slack-1"]
    land(store, window(), [record(DAY_1 + timedelta(hours=1), "late")])
    assert list(run(store, (good, bad)).errors) == ["Slack-1"]
    bad.is_broken = False
    assert not run(store, (good, bad)).errors
    run(store, (good, bad))
    assert sorted(good.records) == sorted(bad.records) == ["a0", "a1", "late"]
    assert (len(good.messages), len(bad.messages)) == (2, 1)


def test_delivery_leaves_out_lower_levels() -> None:
    """Alerts below the level are in no message and are not counted in one."""
    store, inboxes = one_window(), (Inbox(), Inbox())
    run(store, inboxes, ANY, LOW, least="high")
    (message,) = inboxes[0].messages
    assert (message.values["levels"], message.values["alert_count"]) == ({"high": 2}, 2)


def test_delivery_killed_at_any_operation_loses_no_alert() -> None:
    """Wherever a run is killed, each notifier has got each alert after the next one, at most one message twice."""
    for after_effect in (False, True):
        number = 1
        while True:
            store, inboxes = one_window(), (Inbox(), Inbox())
            crash = CrashPoint(number, after_effect=after_effect)
            try:
                run(CrashingStore(store, crash), inboxes)
            except KilledError:
                run(store, inboxes)
                number += 1
                assert [sorted(set(one.records)) for one in inboxes] == [["a0", "a1"]] * 2, crash.operations[-1]
                assert max(len(one.messages) for one in inboxes) <= 2
                assert sum(len(one.messages) for one in inboxes) <= 3
                continue
            break
        assert number > 15


def test_delivery_without_a_lost_file_gives_all_other_alerts() -> None:
    """A file of alerts that is gone is named once, and each notifier gets all other alerts and those of later runs."""
    store, inboxes = one_window(), (Inbox(), Inbox())
    land(store, window(40), records_in(window(40), 1, "b"))
    inboxes[0].is_broken = inboxes[1].is_broken = True
    run(store, inboxes)
    gone = next(key for key in store.objects if key.startswith("_detections/alerts/dt=2026-10-26/"))
    store.remove([gone])
    inboxes[0].is_broken = inboxes[1].is_broken = False
    (lost,) = run(store, inboxes).lost
    assert gone in str(lost)
    land(store, window(41), records_in(window(41), 1, "c"))
    assert run(store, inboxes).lost == ()
    assert [one.records for one in inboxes] == [["b0", "c0"]] * 2
    assert [one.values["alert_count"] for one in inboxes[0].messages] == [3, 1]


def test_delivery_without_a_lost_commit_gives_the_alerts_of_all_others() -> None:
    """A commit that is gone is named by each run, and delivered once it is restored; the others are not kept back."""
    store, inboxes = one_window(), (Inbox(), Inbox())
    inboxes[0].is_broken = inboxes[1].is_broken = True
    run(store, inboxes)
    land(store, window(40), records_in(window(40), 1, "b"))
    run(store, inboxes)
    key = detection_commit_key(next(one.number for one in commits(store) if one.alert_count))
    content = store.objects.pop(key)
    inboxes[0].is_broken = inboxes[1].is_broken = False
    for number in (41, 42):
        land(store, window(number), records_in(window(number), 1, f"c{number}-"))
        (lost,) = run(store, inboxes).lost
        assert key in str(lost)
    assert [sorted(one.records) for one in inboxes] == [["b0", "c41-0", "c42-0"]] * 2
    store.objects[key] = content
    assert run(store, inboxes).lost == ()
    assert [sorted(one.records) for one in inboxes] == [["a0", "a1", "b0", "c41-0", "c42-0"]] * 2


def test_delivery_begins_with_the_newest_commit() -> None:
    """A notifier that is added gets the alerts from the newest commit on, and none from before."""
    store, inboxes = one_window(), (Inbox(), Inbox())
    spec = DetectSpec((ANY,), NOW, DAY_1 - DAY, "one")
    detect(spec, store, RuleEngine(Runs()), lambda _: None)
    land(store, window(1), records_in(window(1), 1, "b"))
    detect(spec, store, RuleEngine(Runs()), lambda _: None)
    land(store, window(2), records_in(window(2), 1, "c"))
    run(store, inboxes)
    assert sorted(inboxes[0].records) == ["b0", "c0"]


def test_delivery_survives_a_run_without_notifiers() -> None:
    """Alerts that a notifier has not got are delivered after runs of the command, which has no notifier."""
    store, inboxes = one_window(), (Inbox(), Inbox())
    inboxes[0].is_broken = inboxes[1].is_broken = True
    run(store, inboxes)
    for number in (1, 2):
        land(store, window(number), records_in(window(number), 1, f"w{number}-"))
        detect(DetectSpec((ANY,), NOW, DAY_1 - DAY, f"command{number}"), store, RuleEngine(Runs()), lambda _: None)
    inboxes[0].is_broken = inboxes[1].is_broken = False
    run(store, inboxes)
    assert {"a0", "a1"} <= set(inboxes[0].records)
    assert inboxes[0].records == inboxes[1].records


def test_commits_of_a_retried_run_are_found_behind_others() -> None:
    """The commit of a killed attempt is found although another run has committed before the retry."""
    store = one_window()
    detect(DetectSpec((ANY,), NOW, DAY_1 - DAY, "killed"), store, RuleEngine(Runs()), lambda _: None)
    land(store, window(1), records_in(window(1), 1, "b"))
    newest = detect(DetectSpec((ANY,), NOW, DAY_1 - DAY, "other"), store, RuleEngine(Runs()), lambda _: None).newest
    assert newest is not None
    assert commits_by(store, newest, "killed") == []
    assert sum(one.alert_count for one in commits_by(store, newest, "killed", 9)) == 2
