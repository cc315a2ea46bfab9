"""What a lie is: a server that changes steps of an honest answer.

Invariant: a lie depends on the random state that it is drawn from and on the numbers of the answers, so a seed repeats
it. ``took_effect`` is set by the first answer that an honest server would not have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from tests.campaign.audit_records import Row
from tests.campaign.logs import TrueLog
from tests.campaign.lying_server import Answer, Ask, Manners, ServedPage

BUSY_SHAPES: tuple[str, ...] = ("busy", "busy", "dense", "ties", "crowded", "one second")
CROWDED_SHAPES = ("crowded", "one second", "burst", "ties")


class Lie:
    """An honest server. ``optional`` are the numbers of rows that it shows only for a part of the time."""

    meaning: ClassVar[str] = "none"
    versions: ClassVar[tuple[str, ...]] = ("v1", "v2")
    # Shapes of the log in which the lie matters, None for all; and manners that it needs.
    shapes: ClassVar[tuple[str, ...] | None] = None
    manners: ClassVar[dict[str, Any]] = {}
    odd_count: ClassVar[int] = 0
    # Whether there may be rows outside of the window.
    has_neighbours: ClassVar[bool] = True
    # Seconds a client waits for one read; small where an answer never comes.
    timeout_seconds: ClassVar[float] = 30.0
    max_response_bytes: ClassVar[int] = 64 << 20

    def __init__(self, rng: Random, log: TrueLog, manners: Manners) -> None:
        self.took_effect = False
        self.optional: frozenset[int] = frozenset()
        self.rng = rng
        self.log = log
        self._manners = manners
        self.prepare()

    def prepare(self) -> None:
        """Draws what the lie needs to know."""

    def end_transient_state(self) -> None:
        """Ends what an hour ends: a replica has caught up, late rows have arrived, an outage is over."""

    def change_ask(self, ask: Ask) -> Ask:
        """Returns the request as the server takes it."""
        return ask

    def change_rows(self, rows: list[Row], ask: Ask) -> list[Row]:
        """Returns the rows of the whole list, in order."""
        return rows

    def change_page(self, page: ServedPage, ask: Ask) -> ServedPage:
        """Returns the page."""
        return page

    def change_answer(self, answer: Answer, ask: Ask) -> Answer:
        """Returns the response."""
        return answer

    def without(self, rows: list[Row], hidden: Sequence[Row]) -> list[Row]:
        """Returns the rows without some of them."""
        numbers = {row.number for row in hidden}
        kept = [row for row in rows if row.number not in numbers]
        self.took_effect |= len(kept) < len(rows)
        return kept

    def some_inside(self, count: int) -> list[Row]:
        """Returns some rows of the window, all of them if there are no more."""
        inside = self.log.inside
        return self.rng.sample(inside, min(count, len(inside)))

    def newest(self, count: int) -> list[Row]:
        """Returns the newest rows of the window."""
        return sorted(self.log.inside, key=lambda row: row.at_ns)[-count:]
