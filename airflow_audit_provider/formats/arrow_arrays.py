"""Builds Arrow arrays of Python values, without the import of pandas.

``pyarrow.array`` imports pandas where it is installed, to find out whether it was given one of its objects. That takes
some two seconds and 60 MB of each task that writes Parquet.

Invariant: an array has the same type and values, whichever way it was built.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# Without ``pyarrow.array`` a value takes some 150 ns longer, so after this many the import of pandas costs less.
_VALUES_WITHOUT_PANDAS = 12_000_000


class ArrayBuilder:
    """Builds arrays of texts, integers, times and booleans.

    ``pyarrow.array`` is used if it does not import pandas, or if so many values were built that the import pays off.
    """

    def __init__(self, values_without_pandas: int = _VALUES_WITHOUT_PANDAS) -> None:
        self._left_count = values_without_pandas

    def build(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
        """Returns values as an array; raises ``ArrowInvalid`` for text that is not valid UTF-8."""
        import pyarrow as pa

        if self._left_count <= 0 or not _imports_pandas():
            return pa.array(values, kind, memory_pool=pa.system_memory_pool())
        self._left_count -= len(values)
        return array_from_buffers(values, kind)


def _imports_pandas() -> bool:
    """Returns whether ``pyarrow.array`` would import pandas."""
    return "pandas" not in sys.modules and _has_pandas()


@lru_cache(maxsize=1)
def _has_pandas() -> bool:
    return find_spec("pandas") is not None


def array_from_buffers(values: Sequence[Any], kind: Any) -> pa.Array[Any]:
    """Returns texts, integers, times as integers, or booleans as an array."""
    import pyarrow as pa

    valid = None
    if None in values:
        valid = booleans([value is not None for value in values]).buffers()[1]
    if pa.types.is_string(kind):
        return _texts([value or "" for value in values] if valid else values, valid)
    numbers = [value or 0 for value in values] if valid else values
    if pa.types.is_boolean(kind):
        return pa.BooleanArray.from_buffers(kind, len(values), [valid, booleans(numbers).buffers()[1]])
    content: Any = pa.py_buffer(array("q", numbers))
    return pa.Array.from_buffers(kind, len(values), [valid, content])


def _texts(values: Sequence[str | bytes], valid: Any) -> pa.Array[Any]:
    import pyarrow as pa

    pieces: Sequence[Any] = values
    content = _ascii_or_none(values)
    is_ascii = content is not None
    if content is None:
        pieces = [value.encode() if isinstance(value, str) else value for value in values]
        content = b"".join(pieces)
    offsets = array("i", accumulate(map(len, pieces), initial=0))
    column = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(content), valid)
    if not is_ascii:
        column.validate(full=True)
    return column


def _ascii_or_none(values: Sequence[Any]) -> bytes | None:
    """Returns the values one after the other if all are text of ASCII characters, each of which is one byte."""
    try:
        text = "".join(values)
    except TypeError:
        # A column of JSON has bytes.
        return None
    return text.encode() if text.isascii() else None


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
