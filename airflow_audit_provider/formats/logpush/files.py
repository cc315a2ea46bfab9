"""Reads the files of a Logpush archive as rows, whatever their output options are.

::

    bytes     gzip with any number of members, or plain; a cut or damaged one gives the rows before the damage
    lines     NDJSON if a line near the start is a JSON object, otherwise CSV with any delimiter
    fields    by their own name, or by the one that the job gave them (``renames``)

Invariant: every line is a row, a header, or counted: as foreign, or as a row of the other dataset. No content raises.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.verification.reconcile.comparison import ArchivedRow
from airflow_audit_provider.core.verification.reconcile.fields import ALL_FIELD_NAMES, DATASETS
from airflow_audit_provider.formats.logpush.times import TimeForm, form_of, read_time

_PIECE_BYTES = 1 << 18
_GZIP_START = b"\x1f\x8b"
# zlib manual, inflateInit2: 15 bits of window plus 16 for a gzip header and trailer.
_GZIP_WINDOW_BITS = 31
_SNIFFED_BYTES = 1 << 16
_DELIMITERS = ",\t;|"
# The largest record of a page has a tenth of it; Python's own limit is 128 KiB.
LONGEST_LINE = 64 << 20
_IDS = {one.id_field: version for version, one in DATASETS.items()}


class ArchiveForm(NamedTuple):
    """What is known of an archive beforehand: the version of its dataset, and names of fields.

    ``renames`` is the Logpush name for each name that a record template of the job gives. ``field_names`` are the
    columns of CSV files without a header, in their order, as the job's ``field_names`` has them.
    """

    version: ApiVersion
    renames: Mapping[str, str] = {}
    field_names: Sequence[str] = ()


class LogLayout(NamedTuple):
    """How a job writes its files, as one of them shows: field names as they are in the file, and the form of times.

    ``delimiter`` is empty for NDJSON.
    """

    names: tuple[str, ...]
    time_form: TimeForm
    delimiter: str = ""
    has_header: bool = False


class LogFile:
    """One file of an archive: iterate over ``rows``; the other attributes are complete afterwards.

    ``damage`` says why the file ends before its end, empty if it does not. ``foreign_lines`` counts the lines that are
    no rows, of which ``first_foreign`` is the number of the first one. ``other_count`` counts rows of the other
    dataset. ``layout`` is that of its first row with a time.
    """

    def __init__(self, form: ArchiveForm, content: bytes) -> None:
        self.damage = ""
        self.foreign_lines = self.other_count = self.row_count = 0
        self.first_foreign = 0
        self.layout: LogLayout | None = None
        self._delimiter = ""
        self._has_header = False
        self._form = form
        self._content = content
        self._line_number = 0

    @property
    def is_foreign(self) -> bool:
        """Whether the file has lines and none of them is a row of either dataset."""
        return self.foreign_lines > 0 and not (self.row_count or self.other_count)

    def rows(self) -> Iterator[ArchivedRow]:
        """Yields the rows of the form's dataset."""
        for fields in self._records():
            row = self._row(fields)
            if row is not None:
                self.row_count += 1
                yield row

    def _records(self) -> Iterator[Mapping[str, Any]]:
        lines = self._lines()
        first: list[bytes] = []
        size = 0
        for line in lines:
            first.append(line)
            size += len(line)
            if size >= _SNIFFED_BYTES:
                break
        everything = _chained(first, lines)
        is_json = any(isinstance(_decoded(line), dict) for line in first)
        return self._json_records(everything) if is_json else self._csv_records(everything)

    def _json_records(self, lines: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
        for line in lines:
            self._line_number += 1
            if not line.strip():
                continue
            fields = _decoded(line)
            if isinstance(fields, dict):
                yield {self._form.renames.get(name, name): value for name, value in fields.items()}
            else:
                self._add_foreign()

    def _csv_records(self, lines: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
        names = list(self._form.field_names)
        csv.field_size_limit(LONGEST_LINE)
        texts = (line.decode("utf-8", "replace") for line in lines)
        first = next(texts, "")
        delimiter, header = self._header(first)
        self._delimiter, self._has_header = delimiter, bool(header)
        reader = csv.reader(_chained([first], texts), delimiter=delimiter)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                self._line_number = reader.line_num
                self._add_foreign()
                continue
            self._line_number = reader.line_num
            if self._names_in(cells):
                # Files that were put together have the header again in the middle.
                header = self._names_in(cells)
            elif cells and len(cells) == len(header or names):
                yield dict(zip(header or names, cells, strict=True))
            elif cells:
                self._add_foreign()

    def _header(self, line: str) -> tuple[str, list[str]]:
        """Returns the delimiter of a file and the field names of its header, none if it has no header."""
        for delimiter in _DELIMITERS:
            names = self._names_in(next(csv.reader([line], delimiter=delimiter), []))
            if names:
                return delimiter, names
        wanted = len(self._form.field_names)
        fitting = (one for one in _DELIMITERS if wanted and len(next(csv.reader([line], delimiter=one), [])) == wanted)
        return next(fitting, _DELIMITERS[0]), []

    def _names_in(self, cells: Sequence[str]) -> list[str]:
        """Returns the field names of a header; none for any other row."""
        names = [self._form.renames.get(cell, cell) for cell in cells]
        return names if _IDS.keys() & set(names) and ALL_FIELD_NAMES.issuperset(names) else []

    def _row(self, fields: Mapping[str, Any]) -> ArchivedRow | None:
        dataset = DATASETS[self._form.version]
        record_id = fields.get(dataset.id_field)
        if record_id in (None, "") or isinstance(record_id, dict | list):
            if any(fields.get(name) for name, version in _IDS.items() if version is not self._form.version):
                self.other_count += 1
            else:
                self._add_foreign()
            return None
        when = read_time(fields.get(dataset.time_field))
        text = str(record_id).encode("utf-8", "replace").decode()
        event_ns, unit_ns = when or (None, 1)
        if self.layout is None and when is not None:
            self._note_layout(fields, form_of(fields[dataset.time_field]))
        return ArchivedRow(text, event_ns, unit_ns, dict(fields))

    def _note_layout(self, fields: Mapping[str, Any], time_form: TimeForm) -> None:
        given = {name: own for own, name in self._form.renames.items()}
        names = tuple(given.get(name, name) for name in fields)
        self.layout = LogLayout(names, time_form, self._delimiter, self._has_header)

    def _add_foreign(self) -> None:
        self.foreign_lines += 1
        self.first_foreign = self.first_foreign or self._line_number

    def _lines(self) -> Iterator[bytes]:
        """Yields the lines with their line feeds; of a damaged file the last one only if it is whole."""
        rest = b""
        for piece in self._pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line + b"\n" for line in whole)
            if len(rest) > LONGEST_LINE:
                self.damage = f"a line has more than {LONGEST_LINE >> 20} MiB"
                return
        if rest and not self.damage:
            yield rest

    def _pieces(self) -> Iterator[bytes]:
        """Yields the plain bytes."""
        content = self._content
        if not content.startswith(_GZIP_START):
            yield from (content[start : start + _PIECE_BYTES] for start in range(0, len(content), _PIECE_BYTES))
            return
        while content.startswith(_GZIP_START):
            stream = zlib.decompressobj(_GZIP_WINDOW_BITS)
            try:
                yield stream.decompress(content, _PIECE_BYTES)
                while stream.unconsumed_tail:
                    yield stream.decompress(stream.unconsumed_tail, _PIECE_BYTES)
                yield stream.flush()
            except zlib.error as error:
                self.damage = f"it is damaged ({error})"
                return
            if not stream.eof:
                self.damage = "it is cut: the end of the gzip stream is missing"
                return
            content = stream.unused_data
        if content.strip(b"\x00"):
            self.damage = f"{len(content)} bytes after the gzip stream are none"


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # RFC 8259, section 8.2: the grammar allows half a surrogate pair, which UTF-8 cannot express.
        return json.loads(line.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def _chained(first: Sequence[Any], rest: Iterator[Any]) -> Iterator[Any]:
    yield from first
    yield from rest
