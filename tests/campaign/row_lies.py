"""Lies about the rows of a list and about what a request asks for: missing, late, changed and mixed rows."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.campaign.audit_records import RecordWriter, Row
from tests.campaign.lie import BUSY_SHAPES, CROWDED_SHAPES, Lie
from tests.campaign.lying_server import Ask


class MissingRow(Lie):
    """A row that is still there is missing from one answer, so the list moves up."""

    meaning = "one of the answers, but not the first, lacks one to three rows, and the following rows take their places"
    shapes: ClassVar[tuple[str, ...] | None] = BUSY_SHAPES
    manners: ClassVar[dict[str, Any]] = {"cursor_kind": "offset"}

    def prepare(self) -> None:
        self.number = self.rng.randint(2, 5)
        self.hidden = self.some_inside(self.rng.randint(1, 3))

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if ask.number == self.number else rows


class MissingRows(MissingRow):
    meaning = "a random quarter of the answers lacks one to five rows, different ones each time"

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        if self.rng.random() >= 0.25:
            return rows
        return self.without(rows, self.some_inside(self.rng.randint(1, 5)))


class CrowdedMissingRow(MissingRow):
    meaning = "as `missing-row`, in a second with more rows than a page; a page of v2 has at most 100"
    shapes = ("crowded", "crowded", "burst")
    manners: ClassVar[dict[str, Any]] = {"cursor_kind": "offset", "max_rows": 100}


class LaggingReplica(Lie):
    """Every second answer comes from a replica that does not have the newest rows yet."""

    meaning = "every second answer lacks the newest 1 to 20 rows of the window"
    shapes = ("quiet", "busy", "dense", "ties", "edges", "crowded")

    def prepare(self) -> None:
        self.hidden = self.newest(self.rng.choice((1, 2, 3, 8, 20)))
        self.odd_or_even = self.rng.randint(0, 1)

    def end_transient_state(self) -> None:
        self.hidden = []

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if ask.number % 2 == self.odd_or_even else rows


class RandomReplica(LaggingReplica):
    meaning = "a random half of the answers lacks the newest 1 to 20 rows of the window"

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if self.rng.random() < 0.5 else rows


class ReplicaCatchesUp(LaggingReplica):
    meaning = "the first two to four answers lack the newest 1 to 20 rows of the window"

    def prepare(self) -> None:
        super().prepare()
        self.last_number = self.rng.randint(2, 4)

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if ask.number <= self.last_number else rows


class VanishingRows(Lie):
    """Rows that disappear for good while the window is read: received or not, both are right."""

    meaning = "one to five rows vanish permanently after some answers"
    shapes: ClassVar[tuple[str, ...] | None] = BUSY_SHAPES
    manners: ClassVar[dict[str, Any]] = {"cursor_kind": "offset"}

    def prepare(self) -> None:
        self.number = self.rng.randint(2, 4)
        self.hidden = self.some_inside(self.rng.randint(1, 5))
        self.optional = frozenset(row.number for row in self.hidden)

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if ask.number >= self.number else rows


class LateArrivals(VanishingRows):
    """Rows that appear while the window is read: received or not, both are right until the next run."""

    meaning = (
        "one to five rows appear after some answers. A window is exact only if a second run, an hour later, adds the "
        "rows that the first run lacks"
    )

    def end_transient_state(self) -> None:
        self.number = 0

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if ask.number < self.number else rows


class IgnoresSince(Lie):
    meaning = "`since` is ignored"

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= any(row.at_ns < ask.since_ns for row in self.log.rows)
        return ask._replace(since_ns=0)


class IgnoresBefore(Lie):
    meaning = "`before` is ignored"

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= any(row.at_ns > ask.before_ns for row in self.log.rows)
        return ask._replace(before_ns=1 << 62)


class IgnoresDirection(Lie):
    meaning = "`direction` is ignored: always newest first"

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= ask.ascending
        return ask._replace(ascending=False)


class IgnoresIdNot(Lie):
    meaning = "`id.not` is ignored"
    versions = ("v2",)
    shapes = ("one second",)
    manners: ClassVar[dict[str, Any]] = {"cursor_end": "no result_info", "ties": "arrival"}
    has_neighbours = False

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= bool(ask.without_ids)
        return ask._replace(without_ids=frozenset())


class ShuffledTies(Lie):
    meaning = "rows of one instant come in another order each time"
    shapes = CROWDED_SHAPES

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        sign = 1 if ask.ascending else -1
        mixed = sorted(self.rng.sample(rows, len(rows)), key=lambda row: sign * row.at_ns)
        self.took_effect |= mixed != rows
        return mixed


class OddRecords(Lie):
    meaning = "an honest log with 1 to 8 odd records: null times, float ids, NaN, 1,500 levels of nesting and others"
    shapes = ("quiet", "busy", "dense", "empty", "edges", "crowded", "one second")
    odd_count = 8

    def prepare(self) -> None:
        self.took_effect = any(row.id is None for row in self.log.inside)


class ChangedRecord(Lie):
    meaning = "a record has another content in every second answer"
    shapes = ("quiet", "busy", "dense", "crowded")

    def prepare(self) -> None:
        chosen = self.some_inside(1)
        writer = RecordWriter(self.rng, self.log.version)
        self.changed = {row.number: row._replace(raw=writer.changed(row)) for row in chosen}

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        if ask.number % 2:
            return rows
        changed = [self.changed.get(row.number, row) for row in rows]
        self.took_effect |= changed != rows
        return changed


class OneSidedRow(Lie):
    meaning = "a row is shown in descending order only"
    shapes = ("quiet", "busy", "dense", "crowded", "one second")

    def prepare(self) -> None:
        self.hidden = self.some_inside(1)

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden) if ask.ascending else rows


class HiddenRow(OneSidedRow):
    meaning = "a row is never shown"

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        return self.without(rows, self.hidden)
