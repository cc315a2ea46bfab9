"""Reads ids and times of many lines at once, if every line is a plain record.

A line is plain if it is one JSON object whose id is text and whose time has at most microseconds. Almost all records
are, and reading them here takes half the time of ``read_records``, which makes an object for each.

Invariant: what is read here is what ``read_records`` reads. For any other line :class:`NotPlainError` or an error of
the decoder is raised, and ``read_records`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from airflow_audit_provider.core.api.records import DIGEST_PREFIX, ApiVersion, ListOfOne, is_event_time
from airflow_audit_provider.core.windows.window import to_ns

_Id = Annotated[str, Meta(min_length=1)]
# ``read_records`` converts texts of this length with the same decoder, and longer ones with nine digits.
_Time = Annotated[str, Meta(max_length=len("2026-11-01T00:00:00.123456Z"))]
_REPLACEMENT = "\ufffd"


class _HeadV1(msgspec.Struct, gc=False):
    id: _Id
    when: _Time


class _ActionV2(msgspec.Struct, gc=False):
    time: _Time


class _HeadV2(msgspec.Struct, gc=False):
    id: _Id
    action: _ActionV2


_DECODERS: dict[ApiVersion, Callable[[Any], list[Any]]] = {
    ApiVersion.V1: msgspec.json.Decoder(ListOfOne[_HeadV1]).decode_lines,
    ApiVersion.V2: msgspec.json.Decoder(ListOfOne[_HeadV2]).decode_lines,
}


class NotPlainError(ValueError):
    """Lines that ``read_records`` has to read. Never leaves the reader of a part."""


class PlainRecords(NamedTuple):
    """Ids of consecutive records, the first and the last of their times, and their bytes.

    ``lines`` of all groups one after the other are the records as ``lines_of`` gives them; those of one group may end
    within a record.
    """

    ids: Sequence[str]
    edges_ns: tuple[int, int]
    lines: bytes


class PlainLineReader:
    """Reads lines that come in pieces of any size."""

    def __init__(self, version: ApiVersion) -> None:
        self._decode = _DECODERS[version]
        self._times_of = _times_v1 if version == ApiVersion.V1 else _times_v2
        self._rest = b"["

    def read(self, piece: bytes) -> PlainRecords:
        """Returns the records that end in this piece."""
        if b"\r" in piece:
            raise NotPlainError("a line break inside a record would be replaced")
        # Each line becomes a list of its own: the decoder would also take two objects on one line, and one on two
        # lines. A line that closes its list and opens another makes more lists than lines, which is counted below.
        lists = piece.replace(b"\n", b"]\n[")
        first, last = lists.find(b"\n"), lists.rfind(b"\n")
        if first < 0:
            raise NotPlainError("a line is longer than a piece")
        lines = self._decode(self._rest + lists[:first])
        lines += self._decode(memoryview(lists)[first + 1 : last + 1])
        # Each line feed became three bytes, so the lengths tell how many there are. To count them would take a third of
        # the time of decoding.
        if len(lines) != (len(lists) - len(piece)) // 2:
            raise NotPlainError("a line closes its list and opens another one")
        self._rest = lists[last + 1 :]
        return PlainRecords(_checked_ids(lines), _edges_ns(self._times_of(lines)), piece)

    def finish(self) -> None:
        """Ends the lines."""
        if self._rest != b"[":
            raise NotPlainError("the last line has no line break")


def _times_v1(lines: Sequence[Any]) -> list[str]:
    return [line.item.when for line in lines]


def _times_v2(lines: Sequence[Any]) -> list[str]:
    return [line.item.action.time for line in lines]


def _checked_ids(lines: Sequence[Any]) -> list[str]:
    ids = [line.item.id for line in lines]
    joined = "".join(ids)
    if _REPLACEMENT in joined or DIGEST_PREFIX in joined:
        raise NotPlainError("an id is, or may be, the digest of its record")
    return ids


def _edges_ns(texts: Sequence[str]) -> tuple[int, int]:
    instants = msgspec.convert(texts, list[datetime])
    # Records of a part are in order already, so this takes less time than ``min`` and ``max``. Without offsets in some
    # texts, comparing raises TypeError; without any, ``to_ns`` does.
    instants.sort()
    first_ns, last_ns = to_ns(instants[0]), to_ns(instants[-1])
    if not is_event_time(first_ns) or not is_event_time(last_ns):
        raise NotPlainError("a time is out of range, or a zero that stands for no time")
    return first_ns, last_ns
