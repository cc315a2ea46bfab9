"""Findings: every kind has a severity and a remedy, and they read well in a table."""

from __future__ import annotations

import msgspec
import pytest

from airflow_audit_provider.core.verification.findings import FindingKind, Severity, finding, findings_table, severe


@pytest.mark.parametrize("kind", list(FindingKind))
def test_every_kind_says_what_to_do(kind: FindingKind) -> None:
    """A finding is the fact, then the remedy, and travels as JSON."""
    found = finding(kind, "a/key", "Something is so.")
    assert found.detail.startswith("Something is so. ")
    assert found.detail.endswith(".")
    assert msgspec.json.decode(msgspec.json.encode(found)) == {
        "kind": kind.value,
        "key": "a/key",
        "detail": found.detail,
        "severity": found.severity.value,
    }


def test_the_table_has_the_severe_first() -> None:
    """Columns are as wide as their longest word; no line ends in blanks."""
    mild = finding(FindingKind.STAGING_LEFTOVER, "a", "It is there.")
    grave = finding(FindingKind.PART_CHANGED, "b/longer", "It is other.")
    lines = findings_table([mild, grave]).splitlines()
    assert [line.split()[0] for line in lines] == ["severity", "severe", "mild"]
    assert len({line.index(word) for line, word in zip(lines, ["detail", "It is", "It is"], strict=True)}) == 1
    assert all(line == line.rstrip() for line in lines)
    assert severe([mild, grave]) == [grave]
    assert (mild.severity, grave.severity) == (Severity.MILD, Severity.SEVERE)
