"""Delivers the alerts of commits: each notifier gets one message for each commit, until it has taken it.

::

    commit ──► message ──► notifier A takes it ──► delivered/000000012/A.json
                       └─► notifier B fails     ──► nothing; the next run delivers to B only

A run looks at the newest commit, and at the earlier ones that it names as not delivered.

Invariant: a message is given again until the mark of its delivery exists, so a worker that is killed between the two
gives it twice; the ids of its alerts are the same. No rule runs for a delivery.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.archive.object_keys import delivered_key, detection_commit_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.alert_text import AlertMessage, message_about
from airflow_audit_provider.core.warehouse.alerts import Alert, alert_order, level_counts, levels_from, read_alerts
from airflow_audit_provider.core.warehouse.detections import DetectionCommit
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.detection_ledger import read_commit

# Gives a message to one notifier; an exception means that it was not taken.
Notify = Callable[[AlertMessage], None]


class Delivery(NamedTuple):
    """What to deliver: alerts from ``least_level`` on, to notifiers by name; a message lists the first alerts."""

    destination: str
    notifiers: Mapping[str, Notify]
    least_level: str = "informational"
    most_listed: int = 10


class DeliveryOutcome(NamedTuple):
    """How many messages notifiers have taken, the errors of the others by name, and those of lost files and commits."""

    delivered_count: int
    errors: Mapping[str, Exception]
    lost: tuple[VerificationError, ...] = ()


def undelivered(store: Store, newest: DetectionCommit | None, notifiers: Sequence[str]) -> tuple[int, ...]:
    """Returns the numbers of the commits that some notifier has not got, oldest first.

    A run without notifiers delivers nothing, and passes on what runs with notifiers have not delivered.
    """
    if newest is None:
        return ()
    numbers = [*newest.undelivered, *([newest.number] if newest.alert_count else [])]
    if not notifiers:
        return tuple(one for one in numbers if one != newest.number or newest.notifiers)
    return tuple(one for one in numbers if not _marks(store, one) >= set(notifiers))


def deliver(store: Store, newest: DetectionCommit | None, delivery: Delivery) -> DeliveryOutcome:
    """Gives each notifier one message about all alerts that it has not got; one that fails does not stop the others.

    ``newest`` is the newest commit, which names the earlier ones that were not delivered. A message counts the alerts
    of a file that is lost, and lists those of all others. A commit that is lost is left out until it is restored.
    """
    lost: dict[str, VerificationError] = {}
    pending = undelivered(store, newest, list(delivery.notifiers)) if delivery.notifiers else ()
    marks = {number: _marks(store, number) for number in pending}
    commits = _commits(store, pending, lost)
    count = 0
    errors: dict[str, Exception] = {}
    for name, notify in delivery.notifiers.items():
        missing = [commit for number, commit in commits.items() if name not in marks[number]]
        message = _message(store, missing, delivery, lost)
        try:
            if message is not None:
                notify(message)
                count += 1
        except Exception as error:  # noqa: BLE001 - notifiers of any provider raise any error; the task raises it later
            errors[name] = error
            continue
        for one in missing:
            facts = {"alert_count": one.alert_count, "commit": one.number, "notifier": name}
            store.create(delivered_key(one.number, name), canonical_json(facts))
    return DeliveryOutcome(count, errors, tuple(lost.values()))


def _commits(store: Store, numbers: Sequence[int], lost: dict[str, VerificationError]) -> dict[int, DetectionCommit]:
    """Returns commits by number; adds the error of each one that is lost, by key."""
    commits = {}
    for number in numbers:
        try:
            commits[number] = read_commit(store, number)
        except VerificationError as error:
            lost[detection_commit_key(number)] = error
    return commits


def _marks(store: Store, number: int) -> set[str]:
    """Returns the names of the notifiers that have got the alerts of a commit."""
    folder = delivered_key(number, "").removesuffix(".json")
    return {key.removeprefix(folder).removesuffix(".json") for key in store.list_keys(folder)}


def message_of(
    store: Store,
    commits: Sequence[DetectionCommit],
    destination: str,
    least_level: str = "informational",
    most_listed: int = 10,
) -> AlertMessage | None:
    """Returns the message about the alerts of some commits, None if none has the level.

    Raises ``VerificationError`` if a file of alerts is lost.
    """
    lost: dict[str, VerificationError] = {}
    message = _message(store, commits, Delivery(destination, {}, least_level, most_listed), lost)
    for error in lost.values():
        raise error
    return message


def _message(
    store: Store, commits: Sequence[DetectionCommit], delivery: Delivery, lost: dict[str, VerificationError]
) -> AlertMessage | None:
    """Returns the message about some commits; adds the error of each file of alerts that is lost, by key."""
    levels = levels_from(delivery.least_level)
    files = [file for one in commits for file in one.alert_files if levels & file.counts.keys()]
    counts = {level: count for level, count in level_counts(files).items() if level in levels}
    if not counts:
        return None

    def alerts() -> Iterator[Alert]:
        for file in files:
            try:
                found = read_alerts(file, store.read(file.key))
            except VerificationError as error:
                lost[file.key] = error
                continue
            yield from (one for one in found if one.level in levels)

    first = heapq.nsmallest(delivery.most_listed, alerts(), key=alert_order)
    return message_about(first, counts, delivery.destination, delivery.most_listed)
