"""Turns the manifests of a window into words: what was asked, how the reading ended, what it found; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from airflow_audit_provider._airflow.coverage_page.views import NONE, Fact
from airflow_audit_provider._airflow.observability.log_lines import size_text, window_text
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.windows.window import count_of, format_ns
from airflow_audit_provider.pipelines.window_history import Generation, WindowHistory

_MOST_LISTED = 100
_VERIFIED = {
    "recount": "the whole window was read again before the commit, and agreed",
    "edges": "both edges of the window were requested again before the commit",
}
_DIGITS = 3
_BROKEN = "DOES NOT name the generation before"
_NEXT_STEP = (
    "Do not rely on the records of this window. Run airflow-audit-provider verify on this destination: it names each "
    "object that disagrees. Then restore these objects from a copy, or from a version that the store has kept."
)


class PartRow(NamedTuple):
    """A data object."""

    key: str
    generation: str
    records: str
    size: str
    first: str
    last: str
    sha256: str


class GenerationRow(NamedTuple):
    """A generation in the timeline; ``chain`` says whether it names the digest of the one before it.

    ``is_broken`` is true if it does not.
    """

    number: int
    words: str
    key: str
    sha256: str
    chain: str
    is_broken: bool
    problem: str


class WindowView(NamedTuple):
    """The page of a window; ``parts`` and ``late_ids`` are cut, and ``more_…`` say how many are left out.

    ``alerts`` say what is wrong with the window and what to do.
    """

    title: str
    alerts: tuple[str, ...]
    facts: tuple[Fact, ...]
    generations: tuple[GenerationRow, ...]
    more_generations: int
    parts: tuple[PartRow, ...]
    more_parts: int
    late_ids: tuple[str, ...]
    more_ids: int
    odd: tuple[Fact, ...]


def window_view(history: WindowHistory) -> WindowView:
    """Returns the page of a committed window; the facts are those of its newest generation that can be read."""
    manifests = [one.manifest for one in history.generations if one.manifest is not None]
    newest = manifests[0] if manifests else None
    parts = newest.parts if newest else ()
    late_ids = [late_id for manifest in manifests for late_id in manifest.added_ids]
    timeline = tuple(_timeline(history.generations))
    return WindowView(
        title=window_text(newest.window) if newest else "",
        alerts=tuple(_alerts(timeline)),
        facts=tuple(_facts(newest)) if newest else (),
        generations=timeline,
        more_generations=history.generation_count - len(history.generations),
        parts=tuple(_part(newest, part) for part in parts[:_MOST_LISTED] if newest),
        more_parts=max(0, len(parts) - _MOST_LISTED),
        late_ids=tuple(late_ids[:_MOST_LISTED]),
        more_ids=max(0, len(late_ids) - _MOST_LISTED),
        odd=tuple(_counts(newest.odd_records or {})) if newest else (),
    )


def _facts(manifest: Manifest) -> Iterator[Fact]:
    fetch = manifest.fetch
    yield Fact("Query", f"{dataset_of(manifest)}, window {manifest.window}")
    yield Fact("Window chosen by", manifest.window_rule)
    yield Fact("Files", f"{manifest.file_format}, compression {manifest.compression}, dt={manifest.partition_date}")
    yield Fact("Records", f"{manifest.record_count:,}")
    yield Fact("Added by the newest generation", f"{manifest.added_count:,}")
    yield Fact("Size", f"{size_text(manifest.size_bytes)}, {count_of(len(manifest.parts), 'part')}")
    yield Fact("Reading ended by", ", ".join(f"{one.name} ({one.text})" for one in _counts(fetch.ended_by)) or NONE)
    yield Fact(
        "Requests", f"{fetch.request_count:,}, {_retries(fetch.retry_count)}, {count_of(fetch.page_count, 'page')}"
    )
    yield Fact("Waited for the rate limit", f"{fetch.throttled_seconds:.1f} s")
    yield Fact("Rows seen", f"{fetch.seen_count:,}, {fetch.repeated_count:,} repeated, {fetch.outside_count:,} outside")
    if fetch.resumed_count:
        yield Fact("Taken over from an earlier attempt", count_of(fetch.resumed_count, "record"))
    yield Fact("Check before the commit", _VERIFIED.get(manifest.verified or "", manifest.verified or NONE))
    yield Fact("SHA-256 of the added records", manifest.records_sha256)
    if manifest.privacy:
        yield Fact("Privacy rule", manifest.privacy.name)
    if manifest.erased:
        yield Fact("Erased", f"{count_of(len(manifest.erased.parts), 'part')}: {manifest.erased.reason}")


def _retries(count: int) -> str:
    return "1 retry" if count == 1 else f"{count:,} retries"


def _counts(counts: Mapping[str, int]) -> Iterator[Fact]:
    for name, count in sorted(counts.items()):
        yield Fact(name, f"{count:,}")


def _timeline(found: Sequence[Generation]) -> Iterator[GenerationRow]:
    """Yields the generations, the newest first."""
    chains = [_chain(later, earlier) for later, earlier in pairwise(found)]
    for one, chain in zip(found, [*chains, _first_chain(found)], strict=True):
        yield GenerationRow(one.number, _words(one.manifest), one.key, one.sha256, chain, chain == _BROKEN, one.problem)


def _alerts(timeline: Sequence[GenerationRow]) -> Iterator[str]:
    """Yields what is wrong with the generations, and what to do."""
    for one in timeline:
        if one.is_broken:
            yield (
                f"Generation {one.number} does not name the digest of the generation before it: one of the two "
                f"manifests was changed after its commit, or is missing. {_NEXT_STEP}"
            )
        if one.problem:
            yield f"The manifest of generation {one.number} cannot be used, see below. {_NEXT_STEP}"


def _words(manifest: Manifest | None) -> str:
    if manifest is None:
        return "cannot be used"
    if manifest.erased:
        return f"erased records; {count_of(manifest.record_count, 'record')} remain"
    added, total = count_of(manifest.added_count, "record"), count_of(manifest.record_count, "record")
    if manifest.generation == 1:
        return f"committed {total}"
    is_replaced = manifest.record_count == manifest.added_count
    return f"replaced everything by {total}" if is_replaced else f"added {added}: {total} in all"


def _chain(later: Generation, earlier: Generation) -> str:
    if later.manifest is None or not earlier.sha256:
        return "not checked"
    is_named = later.manifest.previous_sha256 == earlier.sha256 and later.number == earlier.number + 1
    return "names the digest of the generation before" if is_named else _BROKEN


def _first_chain(found: Sequence[Generation]) -> str:
    return "the first generation" if found and found[-1].number == 1 else "earlier generations are not shown"


def _part(manifest: Manifest, part: Part) -> PartRow:
    return PartRow(
        key=part.key,
        generation=str(manifest.added_by(part) or ""),
        records=f"{part.record_count:,}",
        size=size_text(part.size_bytes),
        first=format_ns(part.first_event_ns, _DIGITS),
        last=format_ns(part.last_event_ns, _DIGITS),
        sha256=part.sha256,
    )
