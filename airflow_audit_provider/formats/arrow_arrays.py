"""Builds Arrow arrays of Python values, without the import of pandas.

``pyarrow.array`` imports pandas where it is installed, to find out whether it was given one of its objects. That takes
some two seconds and 60 MB of each task that writes Parquet.

Invariant: an array has the same type and values, whichever way it was built.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

# Without ``pyarrow.array`` a value takes up to 20 ns longer, so after this many the import of pandas costs less.
_VALUES_WITHOUT_PANDAS = 100_000_000
# JSON writes it as an escape sequence, so that values seldom have it.
_SEPARATOR = b"\0"
_MOST_BYTES = 2**31 - 1


class ArrayBuilder:
    """Builds arrays of texts, integers, times, booleans and lists of texts.

    ``pyarrow.array`` is used if it does not import pandas, or if so many values were built that the import pays off.
    """

    def __init__(self, values_without_pandas: int = _VALUES_WITHOUT_PANDAS) -> None:
        self._left_count = values_without_pandas

    @property
    def uses_buffers(self) -> bool:
        """Whether arrays are built without ``pyarrow.array``."""
        return self._left_count > 0 and _imports_pandas()

    def build(self, columns: Sequence[Sequence[Any]], kinds: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
        """Returns columns as arrays; raises ``ArrowInvalid`` for text that is not valid UTF-8."""
        if not self.uses_buffers:
            return [_by_pyarrow(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        self._left_count -= sum(map(len, columns))
        return arrays_from_buffers(columns, kinds)


def _by_pyarrow(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    import pyarrow as pa

    pool = pa.system_memory_pool()
    try:
        return pa.array(values, kind, memory_pool=pool)
    except pa.ArrowTypeError:
        if not pa.types.is_string(kind):
            raise
    # Other buffers than bytes, such as raw JSON. ``memoryview`` refuses what is no buffer.
    plain = [bytes(memoryview(value)) if not isinstance(value, (str, type(None))) else value for value in values]
    return pa.array(plain, kind, memory_pool=pool)


def _imports_pandas() -> bool:
    """Returns whether ``pyarrow.array`` would import pandas; it does not where numpy is missing."""
    return "pandas" not in sys.modules and "numpy" in sys.modules and _has_pandas()


@lru_cache(maxsize=1)
def _has_pandas() -> bool:
    return find_spec("pandas") is not None


def arrays_from_buffers(columns: Sequence[Sequence[Any]], kinds: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
    """Returns columns of texts, lists of texts, integers, times as integers, or booleans as arrays. Needs numpy.

    A column of another type is made by ``pyarrow.array``.
    """
    import pyarrow as pa

    typed = list(zip(columns, kinds, strict=True))
    texts = iter(_texts([values for values, kind in typed if pa.types.is_string(kind)]))
    return [next(texts) if pa.types.is_string(kind) else _others(values, kind) for values, kind in typed]


def _others(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    import pyarrow as pa

    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return _lists_of_texts(values, kind)
    if pa.types.is_boolean(kind) or pa.types.is_int64(kind) or pa.types.is_timestamp(kind):
        return _numbers(values, kind)
    # The import of pandas takes two seconds; to fail instead would keep the window from being written.
    made: pa.Array[Any] = pa.array(values, kind, memory_pool=pa.system_memory_pool())
    return made


def _lists_of_texts(values: Sequence[Sequence[Any] | None], kind: Any) -> pa.Array[Any]:
    import pyarrow as pa

    texts = [text for value in values for text in value or ()]
    ends = pa.py_buffer(_ends([len(value or ()) for value in values]))
    valid = _validity(values) if None in values else None
    return pa.Array.from_buffers(kind, len(values), [valid, ends], children=_texts([texts]))


def _ends(lengths: Iterable[int]) -> bytes:
    """Returns where each of some values ends if they are one after the other, after a zero, as integers of 32 bits."""
    ends = list(accumulate(lengths, initial=0))
    # Packed, because ``array.array`` takes 1.5 times as long.
    return struct.pack(f"{len(ends)}i", *ends)


def _numbers(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    import pyarrow as pa

    valid = None
    if None in values:
        valid = _validity(values)
        values = [value or 0 for value in values]
    content = _bits(values) if pa.types.is_boolean(kind) else pa.py_buffer(struct.pack(f"{len(values)}q", *values))
    return pa.Array.from_buffers(kind, len(values), [valid, content])


def _validity(values: Sequence[Any]) -> pa.Buffer:
    """Returns a bit for each value, which is set if the value is not null."""
    return _bits([value is not None for value in values])


def _bits(values: Sequence[bool]) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    # Not by a cast of pyarrow, which imports ``pyarrow.compute`` (measured: 0.03 to 0.06 s).
    bits: Any = np.packbits(np.frombuffer(bytes(values), np.uint8), bitorder="little")
    return pa.py_buffer(bits)


def booleans(values: Sequence[Any]) -> pa.Array[Any]:
    """Returns booleans without a null as an array."""
    import pyarrow as pa

    content: Any = pa.py_buffer(bytes(values))
    return pa.UInt8Array.from_buffers(pa.uint8(), len(values), [None, content]).cast(pa.bool_())


def zeros(count: int) -> pa.Array[Any]:
    """Returns so many zeros, which take the first value of another array so many times."""
    import pyarrow as pa

    content: Any = pa.py_buffer(bytes(4 * count))
    return pa.Int32Array.from_buffers(pa.int32(), count, [None, content])


# -- texts -------------------------------------------------------------------------------------------------------------


class _Column(NamedTuple):
    """Texts of a column with separators between them, a null as an empty text; ``is_utf8`` if that is known."""

    content: bytes
    null_count: int
    is_utf8: bool


def _texts(columns: Sequence[Sequence[Any]]) -> list[pa.Array[Any]]:
    """Returns columns of texts, which may be nulls, as arrays that share their buffers.

    Separators are put between the texts of all columns, found and removed: their places tell where each text ends. That
    takes less time than the length of each text would.
    """
    import numpy as np
    import pyarrow as pa

    joined = [_joined(values) for values in columns]
    content = _SEPARATOR.join([b"", *(column.content for column in joined), b""])
    count = sum(map(len, columns))
    places = np.flatnonzero(np.frombuffer(content, np.uint8) == _SEPARATOR[0])
    if len(places) != count + 1 or len(content) > _MOST_BYTES:
        # A text has a separator inside, or a column is empty.
        return [_texts_one_by_one(values) for values in columns]
    ends: Any = (places - np.arange(count + 1)).astype(np.int32)
    is_filled: Any = np.packbits(ends[1:] != ends[:-1], bitorder="little")
    offsets, texts = pa.py_buffer(ends), pa.py_buffer(content.replace(_SEPARATOR, b""))
    plain = pa.StringArray.from_buffers(count, offsets, texts)
    nullable = pa.StringArray.from_buffers(count, offsets, texts, pa.py_buffer(is_filled))
    starts = accumulate(map(len, columns), initial=0)
    return [
        _checked((nullable if column.null_count else plain).slice(start, len(values)), values, column)
        for start, values, column in zip(starts, columns, joined, strict=False)
    ]


def _checked(texts: pa.Array[Any], values: Sequence[Any], column: _Column) -> pa.Array[Any]:
    """Returns the array, or one that is made text by text if the column has empty texts that are not null.

    Raises ``ArrowInvalid`` for bytes that are not UTF-8.
    """
    if texts.null_count != column.null_count:
        return _texts_one_by_one(values)
    if not column.is_utf8:
        texts.validate(full=True)
    return texts


def _joined(values: Sequence[Any]) -> _Column:
    try:
        return _Column("\0".join(values).encode(), 0, is_utf8=True)
    except TypeError:
        null_count = values.count(None)
    if null_count:
        nothing = "" if isinstance(next(filter(None, values), None), str) else b""
        values = [value or nothing for value in values]
    try:
        return _Column("\0".join(values).encode(), null_count, is_utf8=True)
    except TypeError:
        content = _joined_bytes(values)
        return _Column(content, null_count, is_utf8=content.isascii())


def _joined_bytes(values: Sequence[Any]) -> bytes:
    """Returns a column of JSON, which has bytes, and may have texts among them."""
    try:
        return _SEPARATOR.join(values)
    except TypeError:
        return _SEPARATOR.join(_utf8(values))


def _utf8(values: Sequence[Any]) -> Sequence[bytes]:
    return [value.encode() if isinstance(value, str) else value for value in values]


def _texts_one_by_one(values: Sequence[Any]) -> pa.Array[Any]:
    return text_array(_utf8([value or b"" for value in values]), _validity(values) if None in values else None)


def text_array(values: Sequence[bytes], validity: Any = None) -> pa.Array[Any]:
    """Returns UTF-8 as an array of texts; raises ``ArrowInvalid`` for other bytes."""
    import pyarrow as pa

    ends: Any = pa.py_buffer(_ends(map(len, values)))
    texts = pa.StringArray.from_buffers(len(values), ends, pa.py_buffer(b"".join(values)), validity)
    texts.validate(full=True)
    return texts
