"""Generates Logpush archives of audit records: every output option, and seeded faults with the truth about them.

::

    archive = make_archive(rows, "v1", LogpushOptions(output_type="csv"), LogpushFaults(drop=0.01), seed=7)
    for key, content in archive.files.items(): ...

Invariant: the archive depends on the rows, options, faults and seed alone, and ``truth`` says of every id what the
archive has of it. No code is shared with what reads archives.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from airflow_audit_provider.testing.daily_pattern import seeded
from airflow_audit_provider.testing.records import Row

_SECOND_NS = 1_000_000_000
_FILE_SECONDS = 300
_MOST_IN_FILE = 1000
# Logpush field -> path in an API record.
_V1 = {
    "ActionResult": "action.result", "ActionType": "action.type", "ActorEmail": "actor.email", "ActorID": "actor.id",
    "ActorIP": "actor.ip", "ActorType": "actor.type", "ID": "id", "Interface": "interface", "Metadata": "metadata",
    "NewValue": "newValueJson", "OldValue": "oldValueJson", "OwnerID": "owner.id", "ResourceID": "resource.id",
    "ResourceType": "resource.type", "When": "when",
}  # fmt: skip
_V2 = {
    "AccountID": "account.id", "AccountName": "account.name", "ActionDescription": "action.description",
    "ActionResult": "action.result", "ActionTimestamp": "action.time", "ActionType": "action.type",
    "ActorContext": "actor.context", "ActorEmail": "actor.email", "ActorID": "actor.id",
    "ActorIPAddress": "actor.ip_address", "ActorTokenDetails": "", "ActorType": "actor.type", "AuditLogID": "id",
    "Raw": "raw", "ResourceID": "resource.id", "ResourceProduct": "resource.product",
    "ResourceRequest": "resource.request", "ResourceResponse": "resource.response", "ResourceScope": "resource.scope",
    "ResourceType": "resource.type", "ResourceValue": "", "ZoneID": "zone.id", "ZoneName": "zone.name",
}  # fmt: skip
_OBJECTS = {"Metadata", "NewValue", "OldValue", "ActorTokenDetails", "Raw", "ResourceRequest", "ResourceResponse",
            "ResourceValue"}  # fmt: skip
_TIMES = {"When", "ActionTimestamp"}
_IDS = {"v1": "ID", "v2": "AuditLogID"}
FIELDS: Mapping[str, Mapping[str, str]] = {"v1": _V1, "v2": _V2}


@dataclass(frozen=True)
class LogpushOptions:
    """Output options of a job: ``field_names`` empty for all fields, ``renames`` as a record template has them.

    ``list_prefix``, ``list_suffix``, ``record_prefix``, ``record_suffix`` and ``record_delimiter`` are put around and
    between the rows of NDJSON. ``prefix`` may contain ``{DATE}``. ``times_as_text`` puts numbers in quotes. ``redacts``
    is ``CVE-2021-44228``.
    """

    output_type: str = "ndjson"
    timestamp_format: str = "unixnano"
    times_as_text: bool = False
    field_names: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    has_header: bool = True
    delimiter: str = ","
    redacts: bool = False
    prefix: str = "{DATE}/"
    list_prefix: str = ""
    list_suffix: str = ""
    record_prefix: str = ""
    record_suffix: str = "\n"
    record_delimiter: str = ""


@dataclass(frozen=True)
class LogpushFaults:
    """Shares of records that are dropped, doubled, changed or hours late; spans in which the job is disabled.

    ``cut`` is the share of files that end in the middle of a line. ``foreign`` puts other objects below the prefix.
    """

    drop: float = 0.0
    double: float = 0.0
    change: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    disabled: tuple[tuple[datetime, datetime], ...] = ()
    foreign: bool = False


class LogpushTruth(NamedTuple):
    """What an archive has: ids by fault; an id is missing, or delivered once, or doubled."""

    missing: frozenset[str]
    doubled: frozenset[str]
    changed: frozenset[str]
    late: frozenset[str]
    disabled: frozenset[str]


class MadeArchive(NamedTuple):
    """Files by key, and the truth about them; ``cut_keys`` are those that end too early."""

    files: dict[str, bytes]
    truth: LogpushTruth
    cut_keys: tuple[str, ...]
    foreign_keys: tuple[str, ...]


class _Sent(NamedTuple):
    """A record on its way: when it is sent, its id, and its row."""

    sent_ns: int
    id: str
    row: dict[str, Any]


def make_archive(
    rows: Iterable[Row], version: str, options: LogpushOptions, faults: LogpushFaults, seed: int = 0
) -> MadeArchive:
    """Returns the archive that a job with these options and faults would have written of API records."""
    maker = _Maker(version, options, faults, seed)
    sent = sorted((one for row in rows for one in maker.send(row)), key=lambda one: one[:2])
    for group in _files_of(sent):
        maker.write(group)
    return maker.made()


class _Maker:
    """Decides about each record and each file, and keeps the truth."""

    def __init__(self, version: str, options: LogpushOptions, faults: LogpushFaults, seed: int) -> None:
        self._version, self._options, self._faults = version, options, faults
        self._rng = seeded(seed, "logpush", version)
        self._files: dict[str, bytes] = {}
        self._all: set[str] = set()
        self._present: dict[str, int] = {}
        self._changed: set[str] = set()
        self._late: set[str] = set()
        self._disabled: set[str] = set()
        self._cut: list[str] = []

    def send(self, row: Row) -> Iterator[_Sent]:
        """Yields the copies of a record that the job sends: none, one or two."""
        rng, faults = self._rng, self._faults
        self._all.add(row.id)
        sent_ns = row.time_ns + rng.randrange(_SECOND_NS, 240 * _SECOND_NS)
        if any(_ns(start) <= row.time_ns < _ns(end) for start, end in faults.disabled):
            self._disabled.add(row.id)
            return
        if rng.random() < faults.drop:
            return
        if rng.random() < faults.late:
            sent_ns += rng.randrange(2 * 3600, 20 * 3600) * _SECOND_NS
            self._late.add(row.id)
        fields = logpush_row(self._version, json.loads(row.raw), self._options)
        if rng.random() < faults.change and _change(fields, self._options):
            self._changed.add(row.id)
        yield _Sent(sent_ns, row.id, fields)
        if rng.random() < faults.double:
            yield _Sent(sent_ns + rng.randrange(1, 1800) * _SECOND_NS, row.id, dict(fields))

    def write(self, group: Sequence[_Sent]) -> None:
        """Writes records as a file, perhaps a cut one."""
        lines = [_line(one.row, self._options) for one in group]
        header = _header(group[0].row, self._options)
        start, end = (_at(group[place].sent_ns) for place in (0, -1))
        name = f"{start:%Y%m%dT%H%M%SZ}_{end:%Y%m%dT%H%M%SZ}"
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:8]
        key = f"{self._options.prefix.replace('{DATE}', f'{start:%Y%m%d}')}{name}_{digest}.log.gz"
        kept_count = len(lines)
        if self._rng.random() < self._faults.cut:
            kept_count = self._rng.randrange(len(lines))
            half = lines[kept_count][: len(lines[kept_count]) // 2]
            self._files[key] = _cut_gzip("".join([header, *lines[:kept_count], half]))
            self._cut.append(key)
        else:
            options = self._options
            rows = options.record_delimiter.join(lines)
            self._files[key] = _gzip(f"{options.list_prefix}{header}{rows}{options.list_suffix}")
        for one in group[:kept_count]:
            self._present[one.id] = self._present.get(one.id, 0) + 1

    def made(self) -> MadeArchive:
        """Returns the archive; what a cut file or the job has lost is missing."""
        foreign = _foreign_objects() if self._faults.foreign else {}
        present = self._present.keys()
        truth = LogpushTruth(
            missing=frozenset(self._all - present),
            doubled=frozenset(one for one, count in self._present.items() if count > 1),
            changed=frozenset(self._changed & present),
            late=frozenset(self._late & present),
            disabled=frozenset(self._disabled),
        )
        return MadeArchive({**self._files, **foreign}, truth, tuple(self._cut), tuple(foreign))


def _files_of(sent: Sequence[_Sent]) -> Iterator[list[_Sent]]:
    """Yields the records of each file: those of some minutes, and no more than fit."""
    group: list[_Sent] = []
    for one in sent:
        if group and (one.sent_ns - group[0].sent_ns >= _FILE_SECONDS * _SECOND_NS or len(group) >= _MOST_IN_FILE):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def logpush_row(version: str, record: Mapping[str, Any], options: LogpushOptions) -> dict[str, Any]:
    """Returns a record as Logpush shows it, before renaming."""
    names = options.field_names or tuple(FIELDS[version])
    row = {name: _value(version, name, record) for name in names}
    return {name: _time(value, options) if name in _TIMES else value for name, value in row.items()}


def _value(version: str, name: str, record: Mapping[str, Any]) -> Any:
    if name == "ActorTokenDetails":
        actor = record.get("actor") or {}
        return {key: actor[key] for key in ("token_id", "token_name") if key in actor}
    path = FIELDS[version][name]
    value: Any = record if path else None
    for part in path.split(".") if path else ():
        value = value.get(part) if isinstance(value, dict) else None
    if value is None and name in ("NewValue", "OldValue"):
        value = record.get(path.removesuffix("Json"))
    if name in _OBJECTS:
        return value or {}
    return "" if value is None else value


def _time(value: Any, options: LogpushOptions) -> Any:
    text, _, fraction = str(value).removesuffix("Z").partition(".")
    second = int(datetime.fromisoformat(f"{text}+00:00").timestamp())
    nanos = second * _SECOND_NS + int(fraction.ljust(9, "0")[:9] or 0)
    found: Any = {"rfc3339": f"{text}Z", "unix": second, "unixnano": nanos}[options.timestamp_format]
    return str(found) if options.times_as_text else found


def _change(row: dict[str, Any], options: LogpushOptions) -> bool:
    """Changes a text of a row that every dataset has; returns whether the row has it."""
    if "ActionType" not in (options.field_names or ("ActionType",)):
        return False
    row["ActionType"] = f"{row['ActionType']}_changed"
    return True


def _line(row: Mapping[str, Any], options: LogpushOptions) -> str:
    """Returns a row as the line of a file."""
    if options.output_type == "ndjson":
        line = json.dumps({options.renames.get(name, name): value for name, value in row.items()}, ensure_ascii=False)
    else:
        line = options.delimiter.join(_cell(value) for value in row.values())
    line = line.replace("${", "x{") if options.redacts else line
    return f"{options.record_prefix}{line}{options.record_suffix}"


def _cell(value: Any) -> str:
    if isinstance(value, bool | int):
        return str(value).lower()
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return f'"{text.replace(chr(34), chr(34) * 2)}"'


def _header(row: Mapping[str, Any], options: LogpushOptions) -> str:
    if options.output_type == "ndjson" or not options.has_header:
        return ""
    return options.delimiter.join(options.renames.get(name, name) for name in row) + "\n"


def _gzip(text: str) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    return stream.compress(text.encode()) + stream.flush()


def _cut_gzip(text: str) -> bytes:
    """Returns a gzip stream that ends without its end: all of the text can be read from it, and no more."""
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    return stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)


def _foreign_objects() -> dict[str, bytes]:
    """Returns what else lies below a prefix: the ownership challenge, another dataset, notes, a broken upload."""
    return {
        "ownership-challenge-1a2b3c4d.txt": b"d4e5f6a7b8c9\n",
        "README.md": b"# Logs\n\nDo not remove, see the wiki.\n",
        "20261026/20261026T010000Z_20261026T010500Z_0badf00d.log.gz": _gzip('{"ClientIP":"192.0.2.1","RayID":"4f"}\n'),
        "20261026/20261026T020000Z_20261026T020500Z_deadbeef.log.gz": b"\x1f\x8b\x08\x00nothing that inflates",
    }


def _ns(instant: datetime) -> int:
    return round(instant.timestamp()) * _SECOND_NS


def _at(instant_ns: int) -> datetime:
    return datetime.fromtimestamp(instant_ns // _SECOND_NS, UTC)
