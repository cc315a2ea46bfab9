"""Lies about pages: their limits, their order, and the cursors and statuses that lead from one to the next."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.campaign.audit_records import Row
from tests.campaign.lie import Lie
from tests.campaign.lying_server import Ask, ServedPage, renamed_cursor


class SkippedAtPageEnd(Lie):
    """The server loses its place between two pages."""

    meaning = "one later page starts one row too late"
    shapes = ("dense", "crowded", "burst", "one second")
    manners: ClassVar[dict[str, Any]] = {"cursor_kind": "offset", "max_rows": 100}
    shift: ClassVar[int] = 1

    def prepare(self) -> None:
        self.is_due = True

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        is_later_page = ask.page > 1 or ask.cursor is not None
        if not (is_later_page and self.is_due and rows):
            return rows
        self.is_due, self.took_effect = False, True
        return rows[self.shift :] if self.shift > 0 else rows[:1] + rows


class RepeatedAtPageEnd(SkippedAtPageEnd):
    meaning = "one later page repeats the last row of the page before"
    shift = -1


class IgnoresPage(Lie):
    meaning = "`page` (v1) or `cursor` (v2) is ignored: always the first page"
    shapes = ("dense", "crowded", "burst", "one second")
    manners: ClassVar[dict[str, Any]] = {"max_rows": 100}

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= ask.page > 1 or ask.cursor is not None
        return ask._replace(page=1, cursor=None)


class IgnoresPageSize(Lie):
    meaning = "`per_page` (v1) or `limit` (v2) is ignored: pages hold 7 or 100 rows"
    shapes = ("quiet", "busy", "crowded", "one second")

    def prepare(self) -> None:
        self.size = self.rng.choice((7, 100))

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= ask.size != self.size
        return ask._replace(size=self.size)


class ShortPages(Lie):
    meaning = "pages hold at most 3 to 40 rows, whatever is asked for"
    shapes = ("quiet", "busy", "ties", "one second")

    def prepare(self) -> None:
        # Twenty to forty pages, so that a window stays cheap.
        self.most_rows = max(self.rng.choice((3, 10, 40)), len(self.log.rows) // 25)

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect |= len(self.log.inside) > self.most_rows
        return ask._replace(size=min(ask.size, self.most_rows))


class RaggedPages(Lie):
    meaning = "each page holds a random number of rows, fewer than asked for"
    shapes = ("busy", "dense", "ties", "crowded")
    versions = ("v2",)

    def change_ask(self, ask: Ask) -> Ask:
        self.took_effect = True
        return ask._replace(size=self.rng.randint(max(1, min(ask.size, len(self.log.rows)) // 8), ask.size))


class OversizedPages(Lie):
    meaning = "pages hold up to 30 rows more than asked for"
    shapes = ("dense", "burst")

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        self.rows = rows
        return rows

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if page.rows and page.refusal is None:
            end = self.rows.index(page.rows[-1]) + 1
            page.rows = page.rows + self.rows[end : end + self.rng.randint(1, 30)]
            self.took_effect |= len(page.rows) > ask.size
        return page


class Duplicates(Lie):
    meaning = "a random fifth of the rows of each page comes twice"

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        doubled = [row for row in page.rows for _ in range(2 if self.rng.random() < 0.2 else 1)]
        self.took_effect |= len(doubled) > len(page.rows)
        page.rows = doubled
        return page


class OutOfOrder(Lie):
    meaning = "in a random third of the pages, the rows are out of order"
    shapes = ("quiet", "busy", "dense", "ties", "crowded")

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if self.rng.random() < 0.34:
            mixed = self.rng.sample(page.rows, len(page.rows))
            self.took_effect |= mixed != page.rows
            page.rows = mixed
        return page


class LostCursor(Lie):
    meaning = "a random third of the pages lacks its cursor and does not state in another way whether more follows"
    versions = ("v2",)
    shapes = ("dense", "crowded", "burst", "one second")
    manners: ClassVar[dict[str, Any]] = {"max_rows": 100}
    states_end: ClassVar[bool] = False

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if page.cursor is not None and self.rng.random() < 0.34:
            self.took_effect = True
            page.cursor, page.states_end = None, self.states_end
        return page


class FalseEnd(LostCursor):
    meaning = "a random third of the pages has an empty cursor although more rows follow"
    states_end = True
    manners: ClassVar[dict[str, Any]] = {"max_rows": 93, "cursor_end": "empty"}


class ExpiringCursor(Lie):
    meaning = "a random third of the cursors is refused with a 400"
    versions = ("v2",)
    shapes = ("crowded", "burst")
    manners: ClassVar[dict[str, Any]] = {"max_rows": 100}

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if ask.cursor is not None and self.rng.random() < 0.34:
            self.took_effect = True
            return ServedPage([], refusal="cursor expired")
        return page


class RepeatedCursor(Lie):
    meaning = "each page names the cursor that led to it"
    versions = ("v2",)
    shapes = ("crowded", "burst")
    manners: ClassVar[dict[str, Any]] = {"max_rows": 100}

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if ask.cursor is not None:
            self.took_effect = True
            page.cursor = ask.cursor
        return page


class EmptyPages(Lie):
    meaning = "empty pages with a cursor lie between the others"
    versions = ("v2",)
    shapes = ("dense", "crowded", "burst", "busy")
    manners: ClassVar[dict[str, Any]] = {"max_rows": 100, "cursor_kind": "offset"}

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if ask.number % 3 == 2 and page.cursor is not None:
            self.took_effect = True
            page.cursor = renamed_cursor(page.cursor, ask)
            page.rows = []
        return page


class RefusesBehindEnd(Lie):
    meaning = "a 400 after the last page (v1)"
    versions = ("v1",)
    shapes = ("burst", "crowded", "one second", "dense")
    manners: ClassVar[dict[str, Any]] = {"refuses_past_end": True}

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        self.took_effect |= page.refusal is not None
        return page


class DepthLimit(Lie):
    meaning = "a 400 for rows past the first 500 to 1,500 of a list (v1)"
    versions = ("v1",)
    shapes = ("burst",)
    manners: ClassVar[dict[str, Any]] = {"refuses_past_end": True}

    def prepare(self) -> None:
        self.depth = self.rng.randint(500, 1500)

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        if (ask.page - 1) * ask.size >= self.depth:
            self.took_effect = True
            return ServedPage([], refusal="page is too deep")
        return page
