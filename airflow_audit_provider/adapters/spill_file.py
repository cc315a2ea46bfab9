"""Bytes put aside on this machine's disk for the length of one pull, so that memory need not hold them.

Knows: temporary files. Must not know: what the bytes are.
Its one rule: what was put aside comes back whole or not at all; no room on the disk is no reason to fail.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import IO

from airflow_audit_provider.exceptions import StorageUnavailableError


class SpillFile:
    """Satisfies :class:`~airflow_audit_provider.core.ports.SpillFile`; there is no file before the first bytes.

    The file lies where Python puts temporary ones (``TMPDIR``) and has no name, so that nothing of it outlives the
    process. What that folder does not take, for want of room or leave, is held in memory.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._file_bytes = 0
        self._is_refused = False
        self._held = bytearray()

    def append(self, content: bytes) -> int:
        """Put bytes aside; return the offset they lie at."""
        if not self._is_refused:
            try:
                return self._write(content)
            except OSError:
                # What was written before stays readable; from here on all goes into memory, in the same row of offsets.
                self._is_refused = True
        self._held += content
        return self._file_bytes + len(self._held) - len(content)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes that were put aside together. Raises ``StorageUnavailableError`` when they do not come back."""
        if offset >= self._file_bytes:
            start = offset - self._file_bytes
            content = bytes(self._held[start : start + size_bytes])
        else:
            content = self._read_file(offset, size_bytes)
        if len(content) != size_bytes:
            raise _lost(f"{len(content)} of {size_bytes} bytes")
        return content

    def close(self) -> None:
        """Forget all of it; nothing to do where there was nothing."""
        file, self._file, self._file_bytes = self._file, None, 0
        self._held.clear()
        if file is not None:
            # What a disk could complain of now, nobody needs any more.
            with suppress(OSError):
                file.close()

    def _write(self, content: bytes) -> int:
        """Write all of it: a disk that fills up takes a part without complaint."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, prefix="airflow-audit-")  # noqa: SIM115 - open as long as the pull
        remaining, offset = memoryview(content), self._file_bytes
        while remaining:
            written = os.pwrite(self._file.fileno(), remaining, offset)
            remaining, offset = remaining[written:], offset + written
        self._file_bytes = offset
        return offset - len(content)

    def _read_file(self, offset: int, size_bytes: int) -> bytes:
        if self._file is None:
            return b""
        try:
            return os.pread(self._file.fileno(), size_bytes, offset)
        except OSError as error:
            raise _lost(str(error)) from error


def _lost(what: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"What was put aside in the folder for temporary files does not come back ({what}). Nothing of the window was "
        "written. Look at that disk, or set TMPDIR to a folder on another one, and run the window again."
    )
