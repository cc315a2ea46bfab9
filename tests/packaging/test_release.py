"""Tests that a tag is released only if version and changelog agree with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import airflow_audit_provider
from tests.architecture.source_files import PROJECT
from tools import release

CHANGELOG = """# Changelog

<!-- towncrier: releases -->

## 1.1.0 (2026-12-24)

### Added

- Something new.

## 1.1.0rc1 (2026-12-01)

### Fixed

- Something old.
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project at version 1.1.0 with a complete changelog."""
    (tmp_path / "airflow_audit_provider").mkdir()
    (tmp_path / "airflow_audit_provider" / "__init__.py").write_text('"""One."""\n\n__version__ = "1.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "README.md").write_text("How to write one.\n")
    return tmp_path


def test_complete_project_can_be_released(project: Path) -> None:
    """A tag that agrees with version and changelog has no problems."""
    assert release.problems_of("v1.1.0", project) == []


def test_other_tag_is_refused(project: Path) -> None:
    """For a tag of another version, the problem names the correct tag."""
    (problem,) = release.problems_of("v1.2.0", project)
    assert "v1.2.0" in problem
    assert "tag v1.1.0" in problem


def test_missing_changelog_entry_is_refused(project: Path) -> None:
    """A version without an entry of its own is refused, with the command that writes the entry."""
    (project / "CHANGELOG.md").write_text(CHANGELOG.replace("## 1.1.0 (", "## 1.0.9 ("))
    (problem,) = release.problems_of("v1.1.0", project)
    assert "make changelog VERSION=1.1.0" in problem


def test_pending_fragment_is_refused(project: Path) -> None:
    """A fragment that is not in an entry yet is named."""
    (project / "changelog.d" / "12.fixed.md").write_text("Something.\n")
    (problem,) = release.problems_of("v1.1.0", project)
    assert "12.fixed.md" in problem


def test_notes_are_the_entry_alone() -> None:
    """A release's notes are its entry, without the heading and without the previous entry."""
    assert release.notes_of("1.1.0", CHANGELOG) == "### Added\n\n- Something new."
    assert release.notes_of("1.1.0rc1", CHANGELOG) == "### Fixed\n\n- Something old."
    assert release.notes_of("1.1", CHANGELOG) == ""


def test_version_is_read_without_an_import() -> None:
    """The tool reads the version that the package has."""
    assert release.version_in(PROJECT) == airflow_audit_provider.__version__


def _fragments() -> list[Path]:
    return [path for path in (PROJECT / "changelog.d").glob("*") if path.name != "README.md"]


def test_fragments_are_named_by_a_kind_of_change() -> None:
    """Towncrier finds each fragment: `<issue or +words>.<kind>.md`, a kind of `pyproject.toml`."""
    towncrier = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    kinds = "|".join(kind["directory"] for kind in towncrier["type"])
    named = re.compile(rf"(\d+|\+[a-z0-9-]+)\.({kinds})\.md")
    assert [path.name for path in _fragments() if not named.fullmatch(path.name)] == []
    assert towncrier["start_string"] in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_version_has_its_entry_or_fragments() -> None:
    """The package's version has an entry in the changelog, or fragments for one."""
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert release.notes_of(airflow_audit_provider.__version__, changelog) or _fragments()
