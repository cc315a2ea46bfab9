"""Bytes put aside on this machine's disk for the length of one pull, so that memory need not hold them.

Knows: temporary files. Must not know: what the bytes are.
Its one rule: nothing of it outlives the process; the file has no name that anybody could find.
"""

from __future__ import annotations

import os
import tempfile
from typing import IO

from airflow_audit_provider.exceptions import StorageUnavailableError


class Scratch:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Scratch`; there is no file before the first bytes.

    The file lies where Python puts temporary ones (``TMPDIR``).
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._size_bytes = 0

    def append(self, content: bytes) -> int:
        """Put bytes aside; return the offset they lie at. Raises ``StorageUnavailableError`` when there is no room."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, prefix="airflow-audit-")  # noqa: SIM115 - open as long as the pull
            self._write(self._file, content)
        except OSError as error:
            raise StorageUnavailableError(
                f"The folder for temporary files takes no more ({error.strerror}): {len(content)} bytes on top of "
                f"{self._size_bytes}. Free some space there, or set TMPDIR to a folder that has some; a window needs 8 "
                "bytes a record. The next try goes on from what is staged."
            ) from error
        offset, self._size_bytes = self._size_bytes, self._size_bytes + len(content)
        return offset

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes that were put aside. Raises ``StorageUnavailableError`` when they do not come back whole."""
        try:
            content = b"" if self._file is None else os.pread(self._file.fileno(), size_bytes, offset)
        except OSError as error:
            raise _lost(str(error.strerror)) from error
        if len(content) != size_bytes:
            raise _lost(f"{len(content)} bytes of {size_bytes}")
        return content

    def close(self) -> None:
        """Forget all of it; nothing to do where there was nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, file: IO[bytes], content: bytes) -> None:
        """Write all of it: a disk that fills up takes a part without complaint."""
        file.seek(self._size_bytes)
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[file.write(remaining) :]


def _lost(what: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"What was put aside in the folder for temporary files does not come back ({what}). Look at that disk, or set "
        "TMPDIR to a folder on another one. The next try goes on from what is staged."
    )
