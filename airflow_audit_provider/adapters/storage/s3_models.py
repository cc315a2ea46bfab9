"""Reads botocore's descriptions of S3 faster than botocore does.

To create a client, botocore reads a megabyte of JSON into ordered dictionaries. Plain dictionaries keep the order, too,
and take a third of the time.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec


class _JsonFiles:
    """What botocore's ``JSONFileLoader`` does: reads ``PATH.json`` or else ``PATH.json.gz``."""

    def exists(self, path: str) -> bool:
        """Returns whether one of the two files exists."""
        return Path(f"{path}.json").is_file() or Path(f"{path}.json.gz").is_file()

    def load_file(self, path: str) -> Any:
        """Returns the content of the file, None if there is none."""
        plain, compressed = Path(f"{path}.json"), Path(f"{path}.json.gz")
        if plain.is_file():
            return msgspec.json.decode(plain.read_bytes())
        if compressed.is_file():
            return msgspec.json.decode(gzip.decompress(compressed.read_bytes()))
        return None


def hasten_models(session: Any) -> None:
    """Makes a session read its descriptions this way; does nothing if its loader is not the usual one."""
    loader = session.get_component("data_loader")
    if type(getattr(loader, "file_loader", None)).__name__ == "JSONFileLoader":
        loader.file_loader = _JsonFiles()
