"""The workflows are pinned and restricted, and run only commands that this repository has.

`make workflows` lints them with actionlint and zizmor; these tests check rules of this project.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from tests.architecture.source_files import PROJECT

FOLDER = PROJECT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"^\s*(?:- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OWN = re.compile(r"^\s*(?:- )?uses: \$/\.github/workflows/[\w-]+\.yml$")
# What a step may call beside make: scripts of this repository, and the steps that install and try the wheel.
SCRIPTS = re.compile(r"^(?:python )?(tools/[\w.-]+)")
OTHER_COMMANDS = ("python -m venv fresh", "fresh/bin/", "echo ")


class Job(NamedTuple):
    """One job of a workflow."""

    place: str
    body: dict[str, Any]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps; none if it calls another workflow."""
        return list(self.body.get("steps", []))


def _read(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def _jobs() -> Iterator[Job]:
    for path in WORKFLOWS:
        for name, body in _read(path.read_text(encoding="utf-8"))["jobs"].items():
            yield Job(f"{path.name}:{name}", body)


JOBS = list(_jobs())
each_job = pytest.mark.parametrize("job", JOBS, ids=[job.place for job in JOBS])
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=[path.name for path in WORKFLOWS])


def unpinned_uses(text: str) -> list[str]:
    """Returns lines that use an action without its commit and version, or another repository's workflow."""
    lines = (line for line in text.splitlines() if "uses:" in line and not line.lstrip().startswith("#"))
    return [line.strip() for line in lines if not PINNED.match(line) and not OWN.match(line)]


def unknown_commands(run: str, targets: set[str]) -> list[str]:
    """Returns a step's commands that are neither make targets, nor scripts of this repository, nor known ones."""
    return [line for line in run.strip().splitlines() if not _is_known(line, targets)]


def _is_known(line: str, targets: set[str]) -> bool:
    if line.startswith("make "):
        wanted = [word for word in line.split()[1:] if "=" not in word]
        return bool(wanted) and set(wanted) <= targets
    if script := SCRIPTS.match(line):
        return (PROJECT / script[1]).is_file()
    return line.startswith(OTHER_COMMANDS)


def make_targets(makefile: str) -> set[str]:
    """Returns the targets of a Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


@each_workflow
def test_workflow_grants_nothing_by_default(path: Any) -> None:
    """Each workflow starts without permissions and has a concurrency group."""
    workflow = _read(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]


@each_workflow
def test_actions_are_pinned_by_commit(path: Any) -> None:
    """Each action is pinned to a commit, with its version in a comment."""
    assert unpinned_uses(path.read_text(encoding="utf-8")) == []


@each_job
def test_job_names_its_permissions(job: Job) -> None:
    """A job lists its permissions; only jobs without a checkout, or the release page's job, may write."""
    granted = job.body["permissions"]
    writes = {scope for scope, level in granted.items() if level == "write"}
    checks_out = any("actions/checkout@" in step.get("uses", "") for step in job.steps)
    assert not (writes and checks_out) or job.place == "release.yml:github"


@each_job
def test_job_has_a_time_limit(job: Job) -> None:
    """Each job has a time limit, or calls a workflow whose jobs have one."""
    assert "uses" in job.body or 0 < job.body["timeout-minutes"] <= 300


@each_job
def test_checkout_keeps_no_credentials(job: Job) -> None:
    """A checkout stores no token in its git configuration for later steps."""
    for step in job.steps:
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@each_job
def test_job_runs_known_commands(job: Job) -> None:
    """Each command is a make target, a script of this repository, or a known command."""
    targets = make_targets((PROJECT / "Makefile").read_text(encoding="utf-8"))
    assert [line for step in job.steps for line in unknown_commands(step.get("run", ""), targets)] == []


def test_release_publishes_what_was_checked() -> None:
    """The release calls the wheel's workflow instead of building, and each job needs the one before."""
    jobs = _read((FOLDER / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["wheel"]["uses"] == "$/.github/workflows/wheel.yml"
    assert [jobs[name]["needs"] for name in ("wheel", "attest", "publish", "github")] == [
        "tag",
        "wheel",
        "attest",
        "publish",
    ]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"


def test_offenders_are_noticed() -> None:
    """An action by tag, an unknown target and an unknown command are found."""
    assert unpinned_uses("  - uses: actions/checkout@v7\n  # uses: nothing\n") == ["- uses: actions/checkout@v7"]
    assert unpinned_uses(f"  - uses: a/b@{'0' * 40}\n") == [f"- uses: a/b@{'0' * 40}"]
    assert unpinned_uses("    uses: other/repo/.github/workflows/a.yml@main\n") != []
    assert unpinned_uses(f"  - uses: a/b@{'0' * 40} # v1.2.3\n    uses: $/.github/workflows/a.yml\n") == []
    assert unknown_commands("make quick nothing\nmake A=1\nmake quick A=1", {"quick"}) == [
        "make quick nothing",
        "make A=1",
    ]
    assert unknown_commands("curl x\ntools/none\npython tools/release.py check", set()) == ["curl x", "tools/none"]
    assert make_targets("A := b\nquick: check\n\tx: y\ncheck-dist:\n") == {"quick", "check-dist"}
