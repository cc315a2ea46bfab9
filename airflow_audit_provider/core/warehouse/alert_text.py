"""Messages about alerts: as plain text, as Slack's mrkdwn, as HTML for mail; each lists the first alerts.

People who cause a record choose many of its texts: names, addresses, descriptions. None of them may close a tag,
mention a channel, make a link, or hide a line in a terminal.

Invariant: a value of a record or a rule reaches a message only through the escape of its format.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.core.warehouse.alerts import Alert, alert_order
from airflow_audit_provider.core.warehouse.detections import LEVELS

Escape = Callable[[str], str]
# What a person looks for first, in this order; a message shows those that the record has.
_SHOWN = (
    ("who", ("actor_email", "actor_token_name", "actor_token_id", "actor_id", "actor_type")),
    ("from", ("actor_ip",)),
    ("did", ("action_description", "action_type")),
    ("on", ("resource_id", "resource_type", "resource_product")),
    ("zone", ("zone_name", "zone_id")),
    ("account", ("owner_name", "owner_id")),
)
# A message holds this many characters of one value.
_MOST_SHOWN = 120


class AlertMessage(NamedTuple):
    """A message about alerts in each format, and the same facts as plain values for templates."""

    subject: str
    text: str
    slack: str
    html: str
    values: Mapping[str, Any]


def as_text(value: str) -> str:
    """Returns a value in one line that no terminal takes for a command."""
    return printable(value)


def as_slack(value: str) -> str:
    """Returns a value as code of Slack's mrkdwn.

    Slack's documentation: ``&``, ``<`` and ``>`` are escaped as in HTML, and nothing else can be. Inside of code, no
    character formats, links or mentions; the only one that ends the code is replaced.
    """
    visible = printable(value).replace("`", "'")
    return f"`{visible.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`" if visible else ""


def as_html(value: str) -> str:
    """Returns a value as text of HTML, also inside of an attribute."""
    return html.escape(printable(value), quote=True)


def message_about(
    alerts: Iterable[Alert], level_counts: Mapping[str, int], destination: str, most_listed: int
) -> AlertMessage:
    """Returns the message about the alerts of a run; it lists the first ones by level and time, and counts all."""
    listed = sorted(alerts, key=alert_order)[:most_listed]
    total = sum(level_counts.values())
    subject = as_text(f"{_count(total)} in the Cloudflare audit log: {_levels(level_counts)}")
    left = total - len(listed)
    return AlertMessage(
        subject,
        _text(subject, listed, left, destination),
        _slack(subject, listed, left, destination),
        _html(subject, listed, left, destination),
        {
            "alert_count": total,
            "levels": dict(level_counts),
            "listed_count": len(listed),
            "alerts": [msgspec.to_builtins(one) for one in listed],
        },
    )


def _count(total: int) -> str:
    return "1 alert" if total == 1 else f"{total} alerts"


def _levels(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[level]} {level}" for level in reversed(LEVELS) if counts.get(level))


def _facts(alert: Alert, escape: Escape) -> list[tuple[str, str]]:
    """Returns the facts of a record that a person looks for, escaped."""
    found = []
    for name, columns in _SHOWN:
        value = next((str(alert.record[one]) for one in columns if alert.record.get(one)), "")
        if value:
            found.append((name, escape(value[:_MOST_SHOWN])))
    return found


def _left(left: int) -> str:
    return f"{left} more are in the files below _detections/alerts/ of the destination." if left > 0 else ""


def _text(subject: str, listed: Sequence[Alert], left: int, destination: str) -> str:
    lines = [subject, f"destination: {as_text(destination)}"]
    for alert in listed:
        lines += ["", f"[{as_text(alert.level)}] {as_text(alert.title)}"]
        lines += [f"  {name}: {value}" for name, value in _facts(alert, as_text)]
        lines += [f"  when: {as_text(alert.event_time)}", f"  record: {as_text(alert.record_id)}"]
        lines += [f"  what to do: {as_text(alert.advice)}"] if alert.advice else []
        lines += [f"  alert: {alert.alert_id}"]
    return "\n".join([*lines, *(["", _left(left)] if left > 0 else [])]) + "\n"


def _slack(subject: str, listed: Sequence[Alert], left: int, destination: str) -> str:
    lines = [f"*{subject}*", f"destination {as_slack(destination)}"]
    for alert in listed:
        facts = [f"{name} {value}" for name, value in _facts(alert, as_slack)]
        lines.append(f"• {as_slack(alert.level)} {as_slack(alert.title)}: {', '.join(facts)}")
        lines.append(f"   {as_slack(alert.event_time)}, alert {as_slack(alert.alert_id[:16])}")
    return "\n".join([*lines, *([_left(left)] if left > 0 else [])])


_STYLE = "border-collapse:collapse;font-family:sans-serif;font-size:14px"


def _html(subject: str, listed: Sequence[Alert], left: int, destination: str) -> str:
    rows = []
    for alert in listed:
        facts = "<br>".join(f"{name}: {value}" for name, value in _facts(alert, as_html))
        advice = f"<br>{as_html(alert.advice)}" if alert.advice else ""
        cells = (
            as_html(alert.level),
            f"<b>{as_html(alert.title)}</b>{advice}",
            facts,
            as_html(alert.event_time),
            f"{as_html(alert.record_id)}<br><small>{as_html(alert.alert_id)}</small>",
        )
        rows.append(
            "<tr>" + "".join(f'<td style="padding:6px;vertical-align:top">{one}</td>' for one in cells) + "</tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("level", "rule", "what", "when", "record and alert"))
    more = f"<p>{as_html(_left(left))}</p>" if left > 0 else ""
    table = f'<table border="1" style="{_STYLE}"><tr>{head}</tr>{"".join(rows)}</table>'
    return f"<h3>{as_html(subject)}</h3><p>destination: {as_html(destination)}</p>{table}{more}"
