"""The lies a server can tell, by the names that commands and tables use."""

from __future__ import annotations

import re

from tests.campaign.answer_lies import (
    BrokenConnections,
    Conflicts,
    EmptySpell,
    EndlessBody,
    FirstAnswerEmpty,
    FirstAnswerNull,
    NullAnswers,
    OtherSuccess,
    Outage,
    RateLimited,
    ServerErrors,
    TenSecondOutage,
    TricklingBody,
    UnusableBodies,
    WrongDate,
)
from tests.campaign.lie import Lie
from tests.campaign.page_lies import (
    DepthLimit,
    Duplicates,
    EmptyPages,
    ExpiringCursor,
    FalseEnd,
    IgnoresPage,
    IgnoresPageSize,
    LostCursor,
    OutOfOrder,
    OversizedPages,
    RaggedPages,
    RefusesBehindEnd,
    RepeatedAtPageEnd,
    RepeatedCursor,
    ShortPages,
    SkippedAtPageEnd,
)
from tests.campaign.row_lies import (
    ChangedRecord,
    CrowdedMissingRow,
    HiddenRow,
    IgnoresBefore,
    IgnoresDirection,
    IgnoresIdNot,
    IgnoresSince,
    LaggingReplica,
    LateArrivals,
    MissingRow,
    MissingRows,
    OddRecords,
    OneSidedRow,
    RandomReplica,
    ReplicaCatchesUp,
    ShuffledTies,
    VanishingRows,
)


def lie_name(kind: type[Lie]) -> str:
    """Returns the name of a lie for commands and tables: its class's name in words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()


_KINDS: tuple[type[Lie], ...] = (
    FirstAnswerEmpty, FirstAnswerNull, EmptySpell, NullAnswers,
    MissingRow, MissingRows, CrowdedMissingRow, LaggingReplica, RandomReplica, ReplicaCatchesUp,
    VanishingRows, LateArrivals, SkippedAtPageEnd, RepeatedAtPageEnd,
    IgnoresSince, IgnoresBefore, IgnoresDirection, IgnoresPage, IgnoresPageSize, IgnoresIdNot,
    ShortPages, RaggedPages, OversizedPages, Duplicates, OutOfOrder, ShuffledTies,
    OddRecords, ChangedRecord, OneSidedRow, HiddenRow,
    LostCursor, FalseEnd, ExpiringCursor, RepeatedCursor, EmptyPages,
    RefusesBehindEnd, DepthLimit, WrongDate,
    UnusableBodies, OtherSuccess, Conflicts, RateLimited, ServerErrors, BrokenConnections, TenSecondOutage, Outage,
    TricklingBody, EndlessBody,
)  # fmt: skip
HONEST = "honest"
LIES: dict[str, type[Lie]] = {lie_name(kind): kind for kind in _KINDS}
