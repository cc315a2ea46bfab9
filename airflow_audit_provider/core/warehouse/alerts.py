"""Alerts of detections: one JSON line for each record and rule that match.

An alert has no time of its own: running a rule on a record again gives the same bytes.

Invariant: an alert holds the facts of the rule and of the record that a person needs to decide what to do, each of them
cut to a length that a message can hold; the record itself stays in its part.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.archive.object_keys import alert_file_key
from airflow_audit_provider.core.verification.manifest_index import compressed, decompressed
from airflow_audit_provider.core.warehouse.detections import LEVELS, AlertFile, DetectionCommit, Rule, alert_id
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import VerificationError

# Columns of the normalized table that an alert has besides the record's id and time.
RECORD_COLUMNS = (
    *("actor_id", "actor_type", "actor_email", "actor_token_id", "actor_token_name", "actor_ip", "interface"),
    *("action_type", "action_description", "action_succeeded", "owner_id", "owner_name", "zone_id", "zone_name"),
    *("resource_id", "resource_type", "resource_product", "request_method", "request_uri", "ray_id"),
)
# A value of a record may have megabytes, an alert goes into messages.
_MOST_CHARACTERS = 300
_MOST_ADVICE = 2_000
# Ids of alerts in the entry of a file, and entries of each list in an asset event, which Airflow keeps in its database.
_MOST_IDS = 5
_MOST_LISTED = 20


class AlertRecord(NamedTuple):
    """The record of an alert: its id, its time as text, and its values by column; ``part`` is the key of its part."""

    id: str
    event_time: str
    api_version: str
    part: str
    values: Mapping[str, Any]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's match on a record; ``alert_id`` is a digest of record id, rule id and rule version."""

    alert_id: str
    rule_id: str
    rule_version: str
    level: str
    title: str
    description: str
    advice: str
    tags: tuple[str, ...]
    record_id: str
    event_time: str
    api_version: str
    window_start: str
    window_end: str
    part: str
    record: dict[str, str | bool | None]


def alert_of(rule: Rule, record: AlertRecord, window: TimeWindow) -> Alert:
    """Returns the alert of a rule that matches a record of a window."""
    return Alert(
        alert_id=alert_id(record.id, rule),
        rule_id=rule.id,
        rule_version=str(rule.version),
        level=rule.level,
        title=_cut(rule.title),
        description=_cut(getattr(rule, "description", "") or "", _MOST_ADVICE),
        advice=_cut(_one_text(getattr(rule, "advice", "")), _MOST_ADVICE),
        tags=tuple(getattr(rule, "tags", ())),
        record_id=_whole(record.id),
        event_time=record.event_time,
        api_version=record.api_version,
        window_start=format_instant(window.start),
        window_end=format_instant(window.end),
        part=record.part,
        record={name: _plain(record.values.get(name)) for name in RECORD_COLUMNS},
    )


def _one_text(advice: str | Iterable[str]) -> str:
    return advice if isinstance(advice, str) else " ".join(filter(None, advice))


def _plain(value: Any) -> str | bool | None:
    if value is None or isinstance(value, bool):
        return value
    return _cut(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _whole(text: str) -> str:
    """Returns a text without halves of surrogate pairs, which JSON may hold and no file can."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _cut(text: str, most: int = _MOST_CHARACTERS) -> str:
    whole = _whole(text)
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def alert_order(alert: Alert) -> tuple[int, str, str, str]:
    """Returns what alerts are sorted by: the highest level first, then time, rule and record."""
    level = LEVELS.index(alert.level) if alert.level in LEVELS else -1
    return -level, alert.event_time, alert.rule_id, alert.record_id


def levels_from(least: str) -> frozenset[str]:
    """Returns a level and those above it."""
    return frozenset(LEVELS[LEVELS.index(least) :])


class WrittenAlerts(NamedTuple):
    """A file of alerts, and its content."""

    file: AlertFile
    content: bytes


def write_alerts(window: TimeWindow, alerts: Sequence[Alert]) -> WrittenAlerts:
    """Returns alerts about records of a window as a file: JSON Lines compressed by gzip, in the order of their ids."""
    ordered = sorted(alerts, key=lambda one: one.alert_id)
    content = compressed(msgspec.json.Encoder().encode_lines(ordered))
    sha256 = hashlib.sha256(content).hexdigest()
    file = AlertFile(
        key=alert_file_key(window, sha256),
        sha256=sha256,
        alert_count=len(ordered),
        counts=dict(sorted(Counter(one.level for one in ordered).items())),
        rule_counts=dict(sorted(Counter(one.rule_id for one in ordered).items())),
        first_ids=tuple(one.alert_id for one in ordered[:_MOST_IDS]),
    )
    return WrittenAlerts(file, content)


_ALERTS = msgspec.json.Decoder(Alert)


def read_alerts(file: AlertFile, content: bytes | None) -> list[Alert]:
    """Returns the alerts of a file; raises ``VerificationError`` if it is gone or changed."""
    is_intact = content is not None and hashlib.sha256(content).hexdigest() == file.sha256
    lines = decompressed(content) if content is not None and is_intact else None
    if lines is None:
        raise VerificationError(
            f"The alerts {file.key} are gone or differ from their commit. Restore them from a copy. If there is "
            "none, remove the folder _detections/: the next run then starts like a first run."
        )
    return _ALERTS.decode_lines(lines)


def event_extra(commits: Sequence[DetectionCommit]) -> dict[str, Any]:
    """Returns what an asset event and the summary of a task state about the alerts of commits; it stays small."""
    files = [file for one in commits for file in one.alert_files]
    rules: Counter[str] = Counter()
    for file in files:
        rules.update(file.rule_counts)
    return {
        "alert_count": sum(file.alert_count for file in files),
        "levels": level_counts(files),
        "rules": dict(rules.most_common(_MOST_LISTED)),
        "alert_ids": [one for file in files for one in file.first_ids][:_MOST_LISTED],
        "alert_files": [file.key for file in files[:_MOST_LISTED]],
        "commits": [one.number for one in commits][-_MOST_LISTED:],
    }


def level_counts(files: Iterable[AlertFile]) -> dict[str, int]:
    """Returns the number of alerts by level, the highest first."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file.counts)
    return {level: counts[level] for level in reversed(LEVELS) if counts[level]}
