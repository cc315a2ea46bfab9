"""A rule that cannot be used is refused with its file, its line and a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.sigma.loading import BUNDLED_RULES, load_rules
from tests.formats.sigma.conftest import HEAD

Write = Callable[..., Path]
DETECTION = "detection:\n    one:\n        action_type: login\n    condition: one\n"
RULE = HEAD + DETECTION
OTHER_ID = "0f36c1c3-3ee3-4c8e-a6a0-6d3b7b9a1b22"
CORRELATION = f"""\
title: Many
id: {OTHER_ID}
status: test
level: high
correlation:
    type: event_count
    rules: [counted]
    group-by: [actor_id]
    timespan: 10m
    condition: {{gte: 3}}
"""
NAMED = RULE.replace("title: A rule\n", "title: A rule\nname: counted\n")


def _refusal(folder: Path, **options: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        load_rules([folder], **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (RULE.replace("action_type", "action_typ"), 8, "no field 'action_typ'. The nearest name is 'action_type'"),
        (RULE.replace("action_type", "after..x"), 8, "'after..x' has a key"),
        (RULE.replace("action_type", "actor_id.x"), 8, "'actor_id', which holds no JSON"),
        (RULE.replace("action_type", "action_type|sounds_like"), 8, "Unknown modifier 'sounds_like'"),
        (RULE.replace("action_type: login", "action_type|expand: '%x%'"), 8, "placeholder of |expand"),
        (RULE.replace("action_type: login", "action_type|re: '(?=x)'"), 8, "is invalid"),
        (RULE.replace("condition: one", "condition: two"), 6, "two"),
        (RULE.replace("id: 6f1f", "ident: 6f1f"), 1, "the rule has no id. Add it, for example from `python -m uuid`"),
        (RULE.replace("id: 6f1f", "id: zz6f1f"), 2, "is not a UUID"),
        (RULE.replace("status: test\n", ""), 1, "the rule has no status"),
        (RULE.replace("status: test", "status: fine"), 3, "status is 'fine'. Give one of stable, test"),
        (RULE.replace("level: low", "level: severe"), 4, "level is 'severe'"),
        (RULE.replace("service: audit", "service: dns"), 5, "product: cloudflare and service: audit"),
        (RULE.replace("level: low", "level: low\nlevel: high"), 5, "the key 'level' occurs twice"),
        (RULE.replace("level: low", "level: [low"), 5, "not valid YAML"),
        ("- a list\n", 1, "not a Sigma rule"),
        (RULE + "advice: {how: x}\n", 10, "advice has other keys"),
        (RULE + "first_seen: {field: actor_ip}\n", 10, "first_seen needs field and timespan"),
        (RULE + "first_seen: {field: actor_ip, timespan: 9 days}\n", 10, "Give a number and s, m, h, d or w"),
        (RULE + "first_seen: {field: actor_up, timespan: 9d}\n", 10, "nearest name is 'actor_ip'"),
        (f"{NAMED}---\n{CORRELATION.replace('event_count', 'value_sum')}", 12, "Value sum"),
        (f"{NAMED}---\n{CORRELATION.replace('event_count', 'temporal_ordered')}", 17, "not supported"),
        (f"{NAMED}---\n{CORRELATION.replace('gte: 3', 'lt: 3')}", 21, "give gte or gt"),
        (f"{NAMED}---\n{CORRELATION.replace('[counted]', '[nobody]')}", 18, "'nobody', which is not a rule"),
        (f"{NAMED}---\n{CORRELATION.replace('actor_id', 'actor_idd')}", 19, "nearest name is 'actor_id'"),
    ],
)
def test_unusable_rule_is_refused_with_file_line_and_remedy(
    rule_folder: Write, text: str, line: int, words: str
) -> None:
    """The error names the file and the line of the word that is wrong, and what to write instead."""
    message = _refusal(rule_folder(text))
    assert f"rule0.yml:{line}: " in message
    assert words in message
    assert message.endswith("Correct these rules, or move their files out of the folder.")


def test_all_problems_of_all_files_are_in_one_error(rule_folder: Write) -> None:
    """Two unusable files and two rules with one id give one error that names each."""
    broken = RULE.replace("action_type", "action_typ").replace("6f1f", "7f1f")
    message = _refusal(rule_folder(RULE, RULE, broken.replace("level", "lvl"), "[", "\x00"))
    assert re.findall(r"rule(\d)\.yml:(\d+): ", message) == [("1", "2"), ("2", "1"), ("3", "1"), ("4", "1")]
    assert "is also that of" in message


def test_folder_without_rules_is_refused(tmp_path: Path) -> None:
    """A folder that is empty or does not exist is an error, because rules that do not run are not noticed."""
    assert "has no file that ends in .yml or .yaml" in _refusal(tmp_path)
    assert "does not exist" in _refusal(tmp_path / "nowhere")


def test_unknown_time_zone_is_refused(rule_folder: Write) -> None:
    """A name that is no time zone is an error before a rule is evaluated."""
    assert "'Europe/Zürich', which is not a time zone" in _refusal(rule_folder(RULE), time_zone="Europe/Zürich")


def test_deprecated_rule_is_left_out(rule_folder: Write) -> None:
    """A rule with the status deprecated or unsupported is not loaded, as Sigma defines those words."""
    unsupported = RULE.replace("status: test", "status: unsupported").replace("6f1f", "7f1f")
    deprecated = RULE.replace("status: test", "status: deprecated").replace("6f1f", "8f1f")
    assert [rule.status for rule in load_rules([rule_folder(RULE, unsupported, deprecated)])] == ["test"]


def test_rule_that_a_correlation_counts_is_no_rule_of_its_own(rule_folder: Write) -> None:
    """Only the correlation is returned, unless it says generate."""
    folder = rule_folder(f"{NAMED}---\n{CORRELATION}")
    (rule,) = load_rules([folder])
    assert (rule.title, rule.needs_history) == ("Many", timedelta(minutes=20))
    generating = CORRELATION.replace("timespan", "generate: true\n    timespan")
    rule_folder(f"{NAMED}---\n{generating}")
    assert [rule.title for rule in load_rules([folder])] == ["A rule", "Many"]


def _version(folder: Path, time_zone: str = "UTC") -> str:
    return load_rules([folder], time_zone)[-1].version


def test_version_changes_with_what_a_rule_detects_and_with_nothing_else(rule_folder: Write) -> None:
    """A new value, counted rule, filter or threshold changes the version; title, level and advice do not."""
    first = _version(rule_folder(RULE))
    assert (
        _version(rule_folder(RULE.replace("A rule", "Z").replace("low", "high") + "advice: {how_to_undo: x}\n"))
        == first
    )
    assert _version(rule_folder(RULE.replace("login", "logout"))) != first
    both = f"{NAMED}---\n{CORRELATION}"
    counted = _version(rule_folder(both))
    assert _version(rule_folder(both.replace("gte: 3", "gte: 4"))) != counted
    assert _version(rule_folder(both.replace("login", "logout"))) != counted


def test_version_changes_with_the_time_zone_only_if_the_rule_uses_it(rule_folder: Write) -> None:
    """The version of a rule about hours depends on the time zone; that of another rule does not."""
    folder = rule_folder(RULE)
    assert _version(folder) == _version(folder, "Asia/Tokyo")
    rule_folder(RULE.replace("action_type: login", "local_hour: 3"))
    assert _version(folder) != _version(folder, "Asia/Tokyo")
    rule_folder(RULE.replace("action_type: login", "event_time|hour: 3"))
    assert _version(folder) != _version(folder, "Asia/Tokyo")


FILTER = """\
title: Not the robot
logsource: {product: cloudflare, service: audit}
filter:
    rules: [6f1f2f9c-93a8-4b46-8d0e-0d8f3c7f1a11]
    robot: {actor_email: robot@example.com}
    condition: not robot
"""


def test_filter_in_a_users_folder_changes_the_rule_it_names(rule_folder: Write) -> None:
    """A Sigma filter excludes records from a rule without a copy of the rule, and changes its version."""
    plain = load_rules([rule_folder(RULE)])[0]
    filtered = load_rules([rule_folder(RULE, FILTER)])[0]
    assert "robot@example.com" in filtered.event_filter
    assert filtered.version != plain.version


@pytest.mark.parametrize(
    "text",
    ["modified: 2026-02-30", "&a [*a]", "? [a]\n: b", "[" * 3000],
    ids=["no date", "itself", "key that is a list", "deep"],
)
def test_load_file_that_python_cannot_construct_is_named(tmp_path: Path, text: str) -> None:
    """A file with a date that does not exist, with itself inside, or with too many levels is named in the error."""
    (tmp_path / "odd.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"odd\.yml:1"):
        load_rules([tmp_path])


def test_load_folder_without_a_rule_that_is_on_is_refused(tmp_path: Path) -> None:
    """A folder whose only rule is deprecated fails instead of detecting nothing."""
    rule = (BUNDLED_RULES / "zone_deleted.yml").read_text()
    (tmp_path / "off.yml").write_text(re.sub("status: .*", "status: deprecated", rule))
    with pytest.raises(ConfigurationError, match="nothing would be detected"):
        load_rules([tmp_path])
