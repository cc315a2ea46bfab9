"""Reads the files of a Logpush archive as rows, whatever their output options are.

::

    bytes     gzip with any number of members, or plain; a cut or damaged one gives the rows before the damage
    lines     NDJSON if the first line begins a JSON object or list, or one near the start has an id; otherwise CSV
    wrapped   rows inside of other JSON, on one line or on several, see ``wrapped``
    fields    by their own name, or by the one that the job gave them (``renames``)

Invariant: every line is a row, a header, punctuation around rows, or counted: as foreign, or as a row of the other
dataset. No content raises.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.verification.reconcile.comparison import UNREADABLE, ArchivedRow
from airflow_audit_provider.core.verification.reconcile.fields import ALL_FIELD_NAMES, DATASETS
from airflow_audit_provider.formats.csv import wide_fields
from airflow_audit_provider.formats.logpush.times import TimeForm, form_of, read_time
from airflow_audit_provider.formats.logpush.wrapped import decoded_line, is_list_start, objects_in

_PIECE_BYTES = 1 << 18
_GZIP_START = b"\x1f\x8b"
# zlib manual, inflateInit2: 15 bits of window plus 16 for a gzip header and trailer.
_GZIP_WINDOW_BITS = 31
_SNIFFED_BYTES = 1 << 16
_SNIFFED_ROWS = 20
_DELIMITERS = ",\t;|"
# The largest record of a page has a tenth of it.
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
    dataset. ``layout`` is that of its first row with a time, or of its first row of known fields if none has a time.
    """

    def __init__(self, form: ArchiveForm, content: bytes) -> None:
        self.damage = ""
        self.foreign_lines = self.other_count = self.row_count = 0
        self.first_foreign = 0
        self.layout: LogLayout | None = None
        self._delimiter = ""
        self._has_header = self._has_time_form = False
        self._form = form
        self._known_names = ALL_FIELD_NAMES | form.renames.keys()
        self._content = content
        self._line_number = 0

    @property
    def is_foreign(self) -> bool:
        """Whether the file has lines and none of them is a row of either dataset."""
        return self.foreign_lines > 0 and not (self.row_count or self.other_count)

    def rows(self) -> Generator[ArchivedRow, None, None]:
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
        if self._is_json(first):
            return self._json_records(_chained(first, lines))
        return self._csv_records([_text(line) for line in first], map(_text, lines))

    def _is_json(self, lines: Sequence[bytes]) -> bool:
        """Returns whether lines are NDJSON; a text in a cell of CSV may have a line that is JSON."""
        whole = [line for line in lines if line.strip()]
        if whole and is_list_start(whole[0], self._known_names):
            return True
        decoded = [decoded_line(line, self._known_names).values for line in whole]
        return any(isinstance(one, dict) for values in decoded[:1] for one in values) or any(
            any(self._form.renames.get(name, name) in _IDS for name in fields)
            for values in decoded
            for fields in values
            if isinstance(fields, dict)
        )

    def _json_records(self, lines: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
        punctuation_count = 0
        for line in lines:
            self._line_number += 1
            if not line.strip():
                continue
            decoded = decoded_line(line, self._known_names)
            punctuation_count += decoded.is_punctuation
            for value in decoded.values:
                yield from self._records_in(value)
            if decoded.has_rest:
                self._add_foreign()
        if not (self.row_count or self.other_count):
            self.foreign_lines += punctuation_count

    def _records_in(self, value: Any) -> Iterator[Mapping[str, Any]]:
        """Yields the records of a value of JSON; counts everything else in it, once if it has no record."""
        found = list(objects_in(value, self._known_names))
        records = [one for one in found if isinstance(one, dict) and not self._known_names.isdisjoint(one)]
        for _ in found[len(records) :] if records else found[:1]:
            self._add_foreign()
        for fields in records:
            yield {self._form.renames.get(name, name): value for name, value in fields.items()}

    def _csv_records(self, first: Sequence[str], lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        with wide_fields:
            yield from self._csv_rows(first, lines)

    def _csv_rows(self, first: Sequence[str], lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        names = list(self._form.field_names)
        delimiter, header = self._header(first)
        self._delimiter, self._has_header = delimiter, bool(header)
        limited = _LimitedLines(_chained(first, lines))
        # Strict, because otherwise a file that is cut inside of quotes ends with a row that looks whole.
        reader = csv.reader(limited, delimiter=delimiter, strict=True)
        while True:
            limited.row_length = 0
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

    def _header(self, lines: Sequence[str]) -> tuple[str, list[str]]:
        """Returns the delimiter of a file and the field names of its header, none if it has no header."""
        for delimiter in _DELIMITERS:
            names = self._names_in(next(_cells(lines, delimiter), []))
            if names:
                return delimiter, names
        return max(_DELIMITERS, key=lambda one: self._fitting_count(lines, one)), []

    def _fitting_count(self, lines: Sequence[str], delimiter: str) -> int:
        """Returns how well the first rows fit the columns of the job if this is the delimiter.

        A text in a cell may have as many other delimiters as the row has, but then it is no time.
        """
        names, time_field = self._form.field_names, DATASETS[self._form.version].time_field
        place = names.index(time_field) if time_field in names else None
        rows = [row for row in islice(_cells(lines, delimiter), _SNIFFED_ROWS) if len(row) == len(names)]
        return len(rows) + sum(place is not None and read_time(row[place]) is not None for row in rows)

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
        event_ns, unit_ns = when or (None, UNREADABLE if dataset.time_field in fields else 1)
        if not self._has_time_form:
            self._note_layout(fields, None if when is None else form_of(fields[dataset.time_field]))
        return ArchivedRow(text, event_ns, unit_ns, dict(fields))

    def _note_layout(self, fields: Mapping[str, Any], time_form: TimeForm | None) -> None:
        if time_form is None and (self.layout is not None or not ALL_FIELD_NAMES.issuperset(fields)):
            return
        given = {name: own for own, name in self._form.renames.items()}
        names = tuple(given.get(name, name) for name in fields)
        self.layout = LogLayout(names, time_form or TimeForm(), self._delimiter, self._has_header)
        self._has_time_form = time_form is not None

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
            self.damage = f"{len(content)} bytes after the gzip stream do not belong to it"


class _LimitedLines:
    """Lines of CSV; one row of many lines, as an open quote makes of a file, has no more characters than a line."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.row_length = 0
        self._lines = lines

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.row_length += len(line)
        if self.row_length > LONGEST_LINE:
            raise csv.Error(f"a row has more than {LONGEST_LINE} characters")
        return line


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _cells(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    """Yields rows of CSV up to the first line that is none, such as one of a foreign file."""
    try:
        yield from csv.reader(lines, delimiter=delimiter)
    except csv.Error:
        return


def _chained(first: Sequence[Any], rest: Iterator[Any]) -> Iterator[Any]:
    yield from first
    yield from rest
