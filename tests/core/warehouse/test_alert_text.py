"""Messages about alerts: what they list, and that no value of a record reaches them as markup or as a command."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from airflow_audit_provider.core.warehouse.alert_text import AlertMessage, message_about
from airflow_audit_provider.core.warehouse.alerts import Alert

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!channel> <@U0123> <https://evil.example|the dashboard>",
    "`code` *bold* ~struck~ &lt;!here&gt;",
    "\x1b]0;owned\x07\x1b[2J\r\nAlert: none\x9b31m",
    "gnp.exe\u202egpj \u2066x\u2069 \u200b",
    "{{ conn.slack.password }} {% for x in y %}",
    "\ud83d half a pair",
)


def alert(text: str, level: str = "high", number: int = 0) -> Alert:
    """Returns an alert whose every text is the given one."""
    columns = ("actor_email", "actor_ip", "action_type", "resource_id", "zone_name", "owner_name")
    return Alert(
        alert_id=f"{number:064x}", rule_id="r", rule_version="1", level=level, title=text, description=text,
        advice=text, tags=(), record_id=text, event_time=f"2026-11-01T00:00:{number:02}.000000Z", api_version="v2",
        window_start="2026-11-01T00:00:00Z", window_end="2026-11-02T00:00:00Z", part="dt=2026-11-01/p",
        record=dict.fromkeys(columns, text),
    )  # fmt: skip


class Tags(HTMLParser):
    """Notes the tags and attributes of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        vars(self).update(handle_starttag=self._opened)

    def _opened(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def message(text: str) -> AlertMessage:
    """Returns a message with a text in every place that a record or a rule fills."""
    return message_about([alert(text)], {"high": 1}, "s3://bucket/audit", 10)


@pytest.mark.parametrize("text", HOSTILE)
def test_message_as_html_has_only_its_own_tags(text: str) -> None:
    """No text of a record adds a tag or an attribute to a mail."""
    parser = Tags()
    parser.feed(message(text).html)
    assert parser.tags == {"h3", "p", "table", "tr", "th", "td", "b", "br", "small"}
    assert parser.attributes == {"border", "style"}


@pytest.mark.parametrize("text", HOSTILE)
def test_message_for_slack_has_no_mention_link_or_format(text: str) -> None:
    """No text of a record mentions anybody, links, or leaves the code that it is in."""
    slack = message(text).slack
    assert not re.search(r"[<>]", slack)
    outside = re.sub(r"`[^`\n]*`", "", slack)
    assert "`" not in outside
    assert not re.search(r"evil|script|channel|half|conn|code|bold|gnp", outside)


@pytest.mark.parametrize("text", HOSTILE)
def test_message_as_text_has_only_visible_characters(text: str) -> None:
    """No text of a record begins a line, moves a cursor or turns the direction of what follows."""
    found = message(text)
    assert all(line.isprintable() for line in found.text.splitlines())
    assert found.subject.isprintable()
    assert not re.search(r"^Alert: none", found.text, re.MULTILINE)
    assert found.text.encode()


def test_message_about_a_flood_lists_the_worst_and_counts_all() -> None:
    """Of many alerts the message lists the first of the highest level, and states how many there are in all."""
    alerts = [alert(f"t{number}", "critical" if number % 10 == 0 else "low", number) for number in range(50)]
    found = message_about(alerts, {"critical": 5, "low": 99_995}, "s3://bucket/audit", 3)
    assert found.subject == "100000 alerts in the Cloudflare audit log: 5 critical, 99995 low"
    assert [one["title"] for one in found.values["alerts"]] == ["t0", "t10", "t20"]
    for text in (found.text, found.slack, found.html):
        assert "99997 more" in text
        assert len(text) < 5_000
