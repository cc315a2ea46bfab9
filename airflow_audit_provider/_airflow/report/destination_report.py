"""The report about a destination for an auditor: what is covered and proved, and how to check it; pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import files

from airflow_audit_provider import __version__
from airflow_audit_provider._airflow.coverage_page.periods import (
    Bounds,
    History,
    State,
    gaps,
    history,
    state_of,
    state_spans,
)
from airflow_audit_provider._airflow.coverage_page.views import BAR_HEIGHT, NONE, DatasetView, dataset_view, legend
from airflow_audit_provider._airflow.observability.log_lines import window_text
from airflow_audit_provider._airflow.report.changes_section import changes_section
from airflow_audit_provider._airflow.report.dataset_proof import (
    passes_section,
    proof_sentences,
    seals_section,
    unchecked_anchors,
)
from airflow_audit_provider._airflow.report.document import (
    Calendar,
    Dataset,
    Document,
    Row,
    Section,
    Verdict,
    bounded,
    findings_section,
    worst,
)
from airflow_audit_provider._airflow.report.freshness_section import freshness_sections
from airflow_audit_provider.core.archive.stitching import Stitching
from airflow_audit_provider.core.verification.findings import FindingKind, severe
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, count_of, format_instant
from airflow_audit_provider.pipelines.overview import Overview
from airflow_audit_provider.pipelines.report import DatasetEvidence, Evidence

_EMPTY = "No window is committed, so nothing is covered."
_TITLE = "Cloudflare audit logs: what is kept, and how it is proved"


def destination_report(uri: str, evidence: Evidence, now: datetime) -> Document:
    """Returns the report about a destination as it was read at an instant."""
    parts = [_DatasetReport(uri, one, now) for one in evidence.datasets]
    verdicts = [(part.verdict, part.headline) for part in parts]
    if not (parts or evidence.unopened):
        verdicts.append((Verdict.WRONG, _EMPTY))
    verdicts += [(Verdict.WRONG, f"Version {name} of the stitched history has no window.") for name in evidence.absent]
    verdicts += [(Verdict.WRONG, f"The folder {name} cannot be read: {why}") for name, why in evidence.unopened]
    verdict = worst([one for one, _ in verdicts])
    of_several = f"{count_of(len(parts), 'dataset')}. " if len(parts) > 1 else ""
    headline = " ".join(dict.fromkeys(text for one, text in verdicts if one is verdict))
    return Document(
        title=_TITLE,
        verdict=verdict,
        headline=f"{of_several}{headline}",
        notes=tuple(_notes(uri, evidence.stitching, now)),
        datasets=tuple(Dataset(part.name if len(parts) > 1 else "", tuple(part.sections())) for part in parts),
        closing=(_how_to_check(evidence), _not_checked(evidence)),
    )


def _notes(uri: str, stitching: Stitching | None, now: datetime) -> Iterator[str]:
    yield f"Destination: {uri}"
    if stitching is not None:
        yield f"Stitched history of both versions of the API: {stitching}"
    yield f"As read at {format_instant(now)}, by airflow-audit-provider {__version__}. All times are UTC."
    yield (
        "Read for this: manifests, seals and records of verifications. Not read: the files with the records, so a file "
        "that was removed or changed is not noticed here. This command reads each of them: "
        f"airflow-audit-provider verify {shlex.quote(uri)}"
    )


class _DatasetReport:
    """The sections about one dataset, and its verdict."""

    def __init__(self, uri: str, evidence: DatasetEvidence, now: datetime) -> None:
        self.name = f"{uri}/{evidence.folder.rstrip('/')}" if evidence.folder else uri
        self._evidence = evidence
        self._seen: Overview = evidence.overview
        self._now = now
        bounds = _bounds(evidence)
        self._view: DatasetView = dataset_view(self._seen, now, bounds=bounds)
        self._found: History | None = history(self._seen.windows, now, bounds)
        self._absent = [one for one in gaps(self._found, now) if one[1] is not State.PENDING]
        self._wrong = list(self._wrong_texts())
        self.verdict = Verdict.WRONG if self._wrong else Verdict.GAPS if self._absent else Verdict.GOOD
        self.headline = self._headline()

    def sections(self) -> Iterator[Section]:
        """Yields the sections in their order."""
        covered = (*self._covered_sentences(), *proof_sentences(self._evidence))
        yield Section("What is covered, and what is proved", covered, self._view.facts)
        yield Section("Calendar", calendar=_calendar(self._view))
        yield self._gaps()
        yield self._spans()
        yield self._generations()
        if self._evidence.changes is not None:
            yield changes_section(self._evidence.changes)
        yield from freshness_sections(self._evidence.freshness)
        yield seals_section(self._evidence)
        yield passes_section(self._evidence)
        yield findings_section("Findings", self._evidence.findings)

    def _wrong_texts(self) -> Iterator[str]:
        states = [state_of(one) for one in self._seen.windows]
        if not states:
            yield _EMPTY.rstrip(".")
        if count := states.count(State.DAMAGED):
            yield f"{count_of(count, 'manifest')} cannot be used"
        if count := states.count(State.FOREIGN):
            yield f"{count_of(count, 'window')} of another dataset"
        found = severe(self._evidence.findings)
        overlap_count = sum(one.kind is FindingKind.WINDOWS_OVERLAP for one in found)
        if overlap_count:
            yield f"{count_of(overlap_count, 'window')} that overlap another one"
        if count := len(found) - overlap_count:
            yield f"{count_of(count, 'severe finding')} about the seals and the manifests that they name"
        if self._seen.problems:
            yield f"{count_of(len(self._seen.problems), 'problem')} with the dataset as a whole"

    def _headline(self) -> str:
        if self._wrong:
            return f"Something is wrong: {', '.join(self._wrong)}. {self._missing_text()}".rstrip()
        first, last = self._ends()
        if self._absent:
            return f"Not complete between {first} and {last}. {self._missing_text()}"
        counts = f"{count_of(len(self._seen.windows), 'window')}, {count_of(self._record_count(), 'record')}"
        return f"Complete from {first} to {last}: {counts}, no gap."

    def _missing_text(self) -> str:
        """Returns what is missing, in words, empty for nothing."""
        facts = {fact.name: fact.text for fact in self._view.facts}
        missing = f"Missing: {facts['Missing']}." if facts["Missing"] != NONE else ""
        lost = f"Missing, and beyond what Cloudflare keeps: {facts[_LOST]}." if _LOST in facts else ""
        return f"{missing} {lost}".strip()

    def _record_count(self) -> int:
        return sum(one.record_count for one in self._seen.windows)

    def _ends(self) -> tuple[str, str]:
        found = self._found
        if found is None or found.first_at is None or found.last_at is None:
            return "none", "none"
        return format_instant(found.first_at), format_instant(found.last_at)

    def _covered_sentences(self) -> Iterator[str]:
        for one in self._wrong:
            yield f"Wrong: {one}."
        yield from (f"Problem: {one}" for one in self._seen.problems)
        first, last = self._ends()
        if self._seen.windows:
            until = {fact.name: fact.text for fact in self._view.facts}["Complete without a gap up to"]
            yield f"Windows are committed from {first} to {last}, and without a gap up to {until}."
        yield from (f"The window {one.name} cannot be used: {one.text}" for one in self._view.damaged)

    def _gaps(self) -> Section:
        heading = "Gaps, and until when they can be filled"
        if not self._absent:
            return Section(heading, ("There is no gap between the first committed instant and what is due.",))
        rows = [
            Row((one.start, one.end, one.words, one.until, one.backfill.command if one.backfill else ""), one.state)
            for one in self._view.gaps
        ]
        columns = ("Start", "End", "State", "Readable until", "Command that fills it")
        table = bounded("Gaps", columns, rows, noun="gap")
        more = f"{count_of(self._view.more_gaps, 'later gap')} more." if self._view.more_gaps else ""
        return Section(heading, tables=(table._replace(more=more),))

    def _spans(self) -> Section:
        rows = [
            Row(
                (
                    format_instant(one.start),
                    format_instant(one.end),
                    one.words,
                    "" if not one.window_count else "yes" if one.is_recounted else "no",
                    f"{one.window_count:,}",
                    f"{one.record_count:,}",
                ),
                one.state,
            )
            for one in reversed(state_spans(self._seen.windows, gaps(self._found, self._now)))
        ]
        columns = ("Start", "End", "State", "Read twice before the commit", "Windows", "Records")
        table = bounded("Spans, the newest first", columns, rows, (4, 5), noun="earlier span")
        return Section("Spans of time, the newest first", () if rows else (_EMPTY,), tables=(table,) if rows else ())

    def _generations(self) -> Section:
        heading = "Windows with more than one generation, late or odd records"
        sentence = "A later generation adds late records, or replaces or erases records; each one names the one before."
        changed = [one for one in self._seen.windows if one.generation > 1 or one.late_count or one.odd_count]
        rows = [
            Row(
                (
                    window_text(one.window),
                    str(one.generation),
                    f"{one.record_count:,}",
                    f"{one.late_count:,}",
                    f"{one.odd_count:,}",
                )
            )
            for one in reversed(changed)
        ]
        if not rows:
            return Section(heading, ("Each window has one generation, without late or odd records.",))
        columns = ("Window", "Generation", "Records", "Added later", "Odd")
        table = bounded(heading, columns, rows, (1, 2, 3, 4), noun="earlier window")
        return Section(heading, (sentence,), tables=(table,))


_LOST = "Beyond retention"
_STEPS = (
    "Copy the destination to a folder named copy, with the tools of its store.",
    "A stitched history has two folders, v1 and v2: copy and check one after the other.",
    "Save the script below as check_seals.py outside of the copy.",
    "Run it with -I, so that Python imports nothing from the copy. Signatures and time stamps also need openssl.",
    "Use the public key and the certificate that you keep elsewhere, never files from the destination.",
    "A line that begins with 'no seal names' is about a file that was not checked: do not rely on this file.",
    "A line that begins with 'accepted by' names who accepted that sealed records were replaced or erased: ask them.",
    "The last line of its output has the digest of the newest seal: compare it with one kept outside of the store.",
)


def _bounds(evidence: DatasetEvidence) -> Bounds:
    """Returns where a version of a stitched history has to start and end."""
    required = evidence.required
    if required is None:
        return None, None
    start = None if required.start == EARLIEST_AT else required.start
    return start, None if required.end == LATEST_AT else required.end


def _calendar(view: DatasetView) -> Calendar:
    return Calendar(
        view.shown_months, view.skipped_count, view.day_count, view.bars, BAR_HEIGHT, view.bars_label, tuple(legend())
    )


def _how_to_check(evidence: Evidence) -> Section:
    """Returns how to check the seals with Python and openssl alone."""
    digests = [
        f"SHA-256 of the newest seal{f' in {one.folder}' if one.folder else ''}: {one.chain.newest_sha256}"
        for one in evidence.datasets
        if one.chain.newest_sha256
    ]
    script = files("airflow_audit_provider._airflow.report").joinpath("templates/check_seals.py.txt")
    return Section(
        "How to check it without this package",
        (
            *_STEPS,
            *digests,
        ),
        codes=(
            ("python -I check_seals.py copy --key seal.pub.pem --tsa-root tsa-root.pem",),
            tuple(script.read_text(encoding="utf-8").splitlines()),
        ),
    )


def _not_checked(evidence: Evidence) -> Section:
    return Section("What this report does not check", tuple(_unchecked(evidence, evidence.datasets)))


def _unchecked(evidence: Evidence, datasets: Sequence[DatasetEvidence]) -> Iterator[str]:
    yield (
        "The files with the records were not read. verify reads each of them and compares it with its manifest; the "
        "section about verifications says when that was last done, as far as the destination states it."
    )
    yield "A record of a verification is no proof: anyone who can write to the destination can write one."
    yield (
        "The newest manifest of each window was compared with the seal that names it by SHA-256. A copy in the index "
        "of manifests was compared in its place only if the store's listing states the MD5 digest of the copy. Older "
        "manifests were not read."
    )
    yield from unchecked_anchors(evidence.anchors)
    if any(one.unsealed_count for one in datasets):
        yield "Anyone who can write to the destination can change windows that no seal names, without a trace."
    yield (
        "Whether Cloudflare's API returned every record cannot be checked afterwards. Where the table of spans says "
        "so, a window was read twice before its commit, and both readings agreed."
    )
