"""The edges of what is asked for: whole seconds, wider than what is wanted, moving with the time reached.

Knows: margins. Must not know: pages, how many records were seen.
Its one rule: every record wanted lies strictly inside the edges, whether the server's bounds are inclusive or
exclusive, and whether it compares by the second, rounded or cut, or finer.
"""

from __future__ import annotations

from datetime import datetime

from airflow_audit_provider.core.api.query import Direction
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds

# How far the other side is asked behind the window for a record that shows where the last ones end. A window is read
# only when it begins three days inside the retention.
_LOOK_BEHIND_SECONDS = 2 * 86_400


class QueryBounds:
    """``since_seconds`` and ``before_seconds`` of the next ask; the near one moves in the direction of reading.

    ``horizon`` is as wide as ``window`` or wider: what is asked for past the window's far end. A *reach* is the
    furthest whole second seen times 1 when reading upwards, times -1 downwards; seconds before it are complete.
    ``known_seconds`` is a whole second with a record, inside the window or behind its near edge.
    """

    def __init__(
        self, window: TimeWindow, horizon: TimeWindow, direction: Direction, known_seconds: int | None = None
    ) -> None:
        self._upwards = direction is Direction.ASC
        lower, upper = (window, horizon) if self._upwards else (horizon, window)
        self.since_seconds = lower.whole_seconds()[0] - 1
        self.before_seconds = upper.whole_seconds()[1] + 1
        self.near_reach = self.since_seconds + 1 if self._upwards else 2 - self.before_seconds
        self._known_seconds = known_seconds

    def advance(self, reach: int) -> bool:
        """Move the near edge to just before the reached second; return whether it moved."""
        moves = self.moves_with(reach)
        if moves and self._upwards:
            self.since_seconds = reach - 1
        elif moves:
            # The reached second ends one later, and `before` may be compared by the rounded second.
            self.before_seconds = 2 - reach
        return moves

    def moves_with(self, reach: int) -> bool:
        """Say whether the near edge would move with a reached second."""
        return reach - 1 > self.since_seconds if self._upwards else 2 - reach < self.before_seconds

    def other_side(self) -> tuple[int, int]:
        """Return (since, before) of a range that also holds something behind the near edge, as far as is known.

        Downwards what is behind may lie in the future, which is asked for only where a record is known to be.
        """
        known = self._known_seconds
        if self._upwards:
            behind = self.near_reach - _LOOK_BEHIND_SECONDS if known is None else known
            return min(self.since_seconds, behind - 1), self.before_seconds
        behind = 1 - self.near_reach if known is None else known + 1
        return self.since_seconds, max(self.before_seconds, behind + 1)

    def around(self, reach: int) -> tuple[int, int]:
        """Return (since, before) of a short range from the near edge to some seconds past the reached one.

        Long enough that :meth:`beyond` leaves the reached second behind, also with bounds inclusive to the second.
        """
        if self._upwards:
            return self.since_seconds, min(self.before_seconds, reach + 3)
        return max(self.since_seconds, -reach - 3), self.before_seconds

    def beyond(self, reach: int) -> int | None:
        """Return the reach that stands for all of :meth:`around` having been seen; None when that was everything."""
        since, before = self.around(reach)
        if (since, before) == (self.since_seconds, self.before_seconds):
            return None
        return reach + 2 if self._upwards else reach + 3

    def complete_up_to(self, reach: int) -> datetime:
        """Return the instant on whose near side everything has been seen."""
        return from_seconds(reach if self._upwards else 1 - reach)

    def has_crossed(self, reach: int, window: TimeWindow) -> bool:
        """Say whether everything inside a window has been seen."""
        complete = self.complete_up_to(reach)
        return complete >= window.end if self._upwards else complete <= window.start
