"""Findings: each kind has a severity and a remedy, and a table of findings is aligned."""

from __future__ import annotations

import msgspec
import pytest

from airflow_audit_provider.core.verification.findings import FindingKind, Severity, finding, findings_table, severe


@pytest.mark.parametrize("kind", list(FindingKind))
def test_each_kind_has_a_remedy(kind: FindingKind) -> None:
    """The detail of a finding is the fact and then the remedy; a finding is encoded as JSON."""
    found = finding(kind, "a/key", "Something is so.")
    assert found.detail.startswith("Something is so. ")
    assert found.detail.endswith(".")
    assert msgspec.json.decode(msgspec.json.encode(found)) == {
        "kind": kind.value,
        "key": "a/key",
        "detail": found.detail,
        "severity": found.severity.value,
    }


def test_table_lists_severe_findings_first() -> None:
    """Severe findings come first, columns are aligned, and no line ends in blanks."""
    mild = finding(FindingKind.STAGING_LEFTOVER, "a", "It is there.")
    grave = finding(FindingKind.PART_CHANGED, "b/longer", "It is other.")
    lines = findings_table([mild, grave]).splitlines()
    assert [line.split()[0] for line in lines] == ["severity", "severe", "mild"]
    assert len({line.index(word) for line, word in zip(lines, ["detail", "It is", "It is"], strict=True)}) == 1
    assert all(line == line.rstrip() for line in lines)
    assert severe([mild, grave]) == [grave]
    assert (mild.severity, grave.severity) == (Severity.MILD, Severity.SEVERE)
