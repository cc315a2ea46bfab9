"""Spill files: keep bytes on the local disk, for the duration of one pull or for another library to read.

Invariant: spilled bytes are returned complete or not at all; a full disk is not an error, memory is used instead.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from airflow_audit_provider.exceptions import StorageUnavailableError


class SpillFile:
    """Implements ``SpillStorage`` of :mod:`airflow_audit_provider.core.ports`; the file is created on first use.

    It is an unnamed file in Python's folder for temporary files (``TMPDIR``), so that nothing outlives the process.
    Bytes that cannot be written there are kept in memory.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._file_bytes = 0
        self._uses_memory = False
        self._memory = bytearray()

    def append(self, content: bytes) -> int:
        """Spills bytes; returns their offset."""
        if not self._uses_memory:
            try:
                return self._write(content)
            except OSError:
                # Bytes in the file stay readable; later ones are kept in memory and continue the same offsets.
                self._uses_memory = True
        self._memory += content
        return self._file_bytes + len(self._memory) - len(content)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Returns spilled bytes; raises ``StorageUnavailableError`` if they cannot be read back."""
        if offset >= self._file_bytes:
            start = offset - self._file_bytes
            content = bytes(self._memory[start : start + size_bytes])
        else:
            content = self._read_file(offset, size_bytes)
        if len(content) != size_bytes:
            raise _lost(f"{len(content)} of {size_bytes} bytes")
        return content

    def close(self) -> None:
        """Discards everything; idempotent."""
        file, self._file, self._file_bytes = self._file, None, 0
        self._memory.clear()
        if file is not None:
            # An error of the disk no longer matters, because the bytes are discarded.
            with suppress(OSError):
                file.close()

    def _write(self, content: bytes) -> int:
        """Writes all bytes: on a disk that fills up, pwrite(2) writes fewer bytes than requested without an error."""
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


@contextmanager
def spilled_copy(content: bytes, suffix: str) -> Iterator[str | None]:
    """Yields the path of a temporary file of this user with these bytes; None if it cannot be written.

    Every file has another name, so a library that caches by name never takes one for another. The file is removed at
    the end of the block; a killed process leaves it.
    """
    try:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - `with` would raise what close does on a full disk
            prefix="airflow-audit-", suffix=suffix
        )
    except OSError:
        yield None
        return
    try:
        yield file.name if _is_written(file, content) else None
    finally:
        # On a full disk the close fails as the write did. It removes the file all the same.
        with suppress(OSError):
            file.close()


def _is_written(file: IO[bytes], content: bytes) -> bool:
    try:
        file.write(content)
        file.flush()
    except OSError:
        return False
    return True


def _lost(what: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"Temporary file could not be read back ({what}). Nothing of the window was committed. Check the disk of the "
        "folder for temporary files, or set TMPDIR to a folder on another disk, and run the window again."
    )
