"""A condition selects the records that Sigma's specification says, over every type of column."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion, read_records
from airflow_audit_provider.formats.sigma.loading import load_rules
from airflow_audit_provider.formats.sigma.matching import find_matches, normalized_rows
from tests.formats.sigma.conftest import HEAD

RECORD: dict[str, Any] = {
    "id": "1",
    "when": "2026-07-11T22:05:27Z",
    "interface": "UI",
    "action": {"type": "add_member", "result": True},
    "actor": {"id": "a1", "email": "Alice@Example.com", "type": "user", "ip": "10.0.2.7"},
    "owner": {"id": "o1"},
    "resource": {"id": "r1", "type": "100%_done\\"},
    "metadata": {"count": 12, "on": True, "off": None, "list": ["x", {"y": "deep"}], "quote": "it's"},
    "newValueJson": {"content": "b", "email": "ALICE@example.com"},
    "oldValueJson": {"content": "a"},
}


def _fires(folder: Path, record: dict[str, Any], time_zone: str = "UTC") -> bool:
    rules = load_rules([folder], time_zone)
    rows = normalized_rows(ApiVersion.V1, read_records(ApiVersion.V1, [json.dumps(record).encode()]))
    return bool(find_matches(rules, rows))


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("one: {action_type: ADD_member}", True),
        ("one: {action_type|cased: ADD_member}", False),
        ("one: {action_type: 'add?member'}", True),
        ("one: {action_type: 'add*er'}", True),
        ("one: {action_type|contains: _m}", True),
        ("one: {action_type: 'addX*'}", False),
        ("one: {action_type|startswith: add, action_type|endswith: member}", True),
        ("one: {action_type|contains|all: [add, mem]}", True),
        ("one: {action_type|contains|all: [add, xxx]}", False),
        ("one: {resource_type: '100%_done\\'}", True),
        ("one: {resource_type: '1?0%_done\\'}", True),
        ("one: {resource_type: '1?0%Xdone\\'}", False),
        ("one: {resource_type: '1?0%_donX*'}", False),
        ("one: {actor_email|re: '(?i)^alice@'}", True),
        ("one: {actor_email|re: '^alice@'}", False),
        ("one: {actor_email|re|i: '^alice@'}", True),
        ("one: {actor_ip|cidr: 10.0.0.0/22}", True),
        ("one: {actor_ip|cidr: 10.0.4.0/22}", False),
        ("one: {action_type: nothing, actor_ip|cidr: 10.0.0.0/22}", False),
        ("one: {action_succeeded: true}", True),
        ("one: {action_succeeded: false}", False),
        ("one: {metadata.count|gte: 12, metadata.count|lt: 13, metadata.count: 12}", True),
        ("one: {metadata.count|gt: 12}", False),
        ("one: {metadata.on: true}", True),
        ("one: {metadata.off: null}", True),
        ("one: {metadata.off|exists: false}", True),
        ("one: {metadata.missing|exists: true}", False),
        ("one: {metadata.list.1.y: deep}", True),
        ("one: {metadata.list|contains: '\"x\"'}", True),
        ('one: {metadata.quote: "it\'s"}', True),
        ("one: {raw.actor.id: a1}", True),
        ("one: {after.content|fieldref: before.content}", False),
        ("one: {actor_id|fieldref: raw.actor.id}", True),
        ("one: {after.email|fieldref: actor_email}", True),
        ("one: {user_agent: null}", True),
        ("one: {request_status|gte: 400}", False),
        ("one: {event_time|hour: 22}", True),
        ("one: {event_time|hour|gte: 23}", False),
        ("one: {local_hour: 22, local_weekday: 6}", True),
        ("one: {actor_network: 10.0.2.0/24}", True),
        ("one: {actor_credential: a1}", True),
        ("one: ['Alice@', nothing]", True),
        ("one: [nothing]", False),
        ("one:\n        - {action_type: nothing}\n        - {interface: ui}", True),
    ],
)
def test_condition_selects_the_record(rule_folder: Callable[..., Path], detection: str, expected: bool) -> None:
    """Each modifier and type selects the record exactly if Sigma says so; its negation selects it exactly if not."""
    rule = f"{HEAD}detection:\n    {detection}\n    condition: "
    assert _fires(rule_folder(f"{rule}one\n"), RECORD) is expected
    # The column that the record does not have is null, and what is null is not selected.
    assert _fires(rule_folder(f"{rule}not one\n"), RECORD) is not expected


def test_local_hour_is_that_of_the_time_zone(rule_folder: Callable[..., Path]) -> None:
    """The hour is that of the time zone on that day, summer time included."""
    folder = rule_folder(f"{HEAD}detection:\n    one: {{local_hour: 0, local_weekday: 7}}\n    condition: one\n")
    assert _fires(folder, RECORD, "Europe/Zurich")
    assert not _fires(folder, {**RECORD, "when": "2026-01-10T22:05:27Z"}, "Europe/Zurich")
    assert _fires(folder, {**RECORD, "when": "2026-01-10T23:05:27Z"}, "Europe/Zurich")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:DB8:1:2::9", "2001:db8:1::/48"),
        ("2001:db8::17", "2001:db8:0::/48"),
        ("2001::1:2:3:4:5:6", "2001:0:1::/48"),
        ("::1", "0:0:0::/48"),
        ("2001:db8:7:8:9:a:b:c", "2001:db8:7::/48"),
        ("p-4f2a", "p-4f2a"),
    ],
)
def test_network_of_an_address(rule_folder: Callable[..., Path], address: str, network: str) -> None:
    """Addresses of one network have one value; a pseudonym is a network of its own."""
    folder = rule_folder(f"{HEAD}detection:\n    one: {{actor_network|cased: '{network}'}}\n    condition: one\n")
    assert _fires(folder, {**RECORD, "actor": {"id": "a1", "ip": address}})


def test_value_that_is_no_json_is_null(rule_folder: Callable[..., Path]) -> None:
    """A path into a value that is plain text or a number selects nothing and raises nothing."""
    folder = rule_folder(f"{HEAD}detection:\n    one: {{after.content|exists: true}}\n    condition: one\n")
    assert _fires(folder, RECORD)
    for value in ("plain", "[1", "", "null", "12"):
        record = {name: content for name, content in RECORD.items() if name != "newValueJson"} | {"newValue": value}
        assert not _fires(folder, record)


TEMPORAL = """\
name: first
---
title: Other
name: second
id: 11111111-93a8-4b46-8d0e-0d8f3c7f1a11
status: test
level: low
logsource: {product: cloudflare, service: audit}
detection: {one: {action_type: b}, condition: one}
---
title: Both
id: 22222222-93a8-4b46-8d0e-0d8f3c7f1a11
status: test
level: low
correlation: {type: temporal, rules: [first, second], group-by: [actor_id], timespan: 5m}
"""


def test_temporal_correlation_fires_for_the_record_that_completes_it(rule_folder: Callable[..., Path]) -> None:
    """Both actions of one actor within the span fire once, for the later of them, in any order."""
    folder = rule_folder(f"{HEAD}detection: {{one: {{action_type: a}}, condition: one}}\n{TEMPORAL}")
    (rule,) = load_rules([folder])
    actions = [("a", "x", 0), ("b", "y", 1), ("b", "x", 2), ("a", "x", 3), ("b", "x", 20), ("a", "x", 26)]
    records = [
        {
            **RECORD,
            "id": f"r{n}",
            "when": f"2026-07-11T22:{minute:02}:00Z",
            "action": {"type": act},
            "actor": {"id": who},
        }
        for n, (act, who, minute) in enumerate(actions)
    ]
    texts = [json.dumps(record).encode() for record in records]
    matches = find_matches([rule], normalized_rows(ApiVersion.V1, read_records(ApiVersion.V1, texts)))
    assert [match.record_id for match in matches] == ["r2"]
