"""Reads the sizes of the pages of a Parquet file from their headers, which pyarrow does not show.

The headers are Thrift structs in the compact protocol: https://parquet.apache.org/docs/file-format/metadata/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_UNCOMPRESSED, _COMPRESSED = 2, 3


def page_sizes(content: bytes) -> Iterator[tuple[str, int]]:
    """Yields the column and the uncompressed size of every page, dictionaries included."""
    metadata = pq.read_metadata(pa.BufferReader(content))
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            offset = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
            end = offset + column.total_compressed_size
            while offset < end:
                reader = _Reader(content, offset)
                header = reader.struct()
                yield column.path_in_schema, header[_UNCOMPRESSED]
                offset = reader.offset + header[_COMPRESSED]
            assert offset == end, column.path_in_schema


class _Reader:
    def __init__(self, content: bytes, offset: int) -> None:
        self.offset = offset
        self._content = content

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._integer()
            found[number] = self._value(head & 15)
        return found

    def _byte(self) -> int:
        self.offset += 1
        return self._content[self.offset - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            one = self._byte()
            value |= (one & 127) << shift
            shift += 7
            if one < 128:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _value(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in (_I16, _I32, _I64):
            return self._integer()
        if kind == _STRUCT:
            return self.struct()
        size = {_BYTE: 1, _DOUBLE: 8}.get(kind)
        assert size is not None or kind == _BINARY, f"a page header has a value of kind {kind}"
        size = self._varint() if size is None else size
        self.offset += size
        return self._content[self.offset - size : self.offset]
