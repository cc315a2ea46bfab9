"""Reads botocore's descriptions of S3 faster than botocore does.

To create a client, botocore reads a megabyte of JSON into ordered dictionaries. Plain dictionaries keep the order, too,
and take a third of the time. Before that, botocore lists the folders of all 430 services twice to find out whether S3
is one of them, which takes 30 ms of CPU. Here it looks into the folder of the service.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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


class _Services(Sequence[str]):
    """What botocore's ``list_available_services`` returns; lists the folders of all services only if it is read."""

    def __init__(self, loader: Any, list_all: Callable[[str], list[str]], kind: str) -> None:
        self._loader = loader
        self._list_all = list_all
        self._kind = kind

    def __contains__(self, name: object) -> bool:
        """Returns whether a service has a description of this kind."""
        from botocore.exceptions import DataNotFoundError

        try:
            return bool(self._loader.list_api_versions(name, self._kind))
        except DataNotFoundError:
            return False

    def __iter__(self) -> Iterator[str]:
        """Yields the names of all services."""
        return iter(self._list_all(self._kind))

    def __len__(self) -> int:
        """Returns the number of all services."""
        return len(self._list_all(self._kind))

    def __getitem__(self, index: Any) -> Any:
        """Returns a name, or several, by the position among all services."""
        return self._list_all(self._kind)[index]


def hasten_models(session: Any) -> None:
    """Makes a session read its descriptions this way; does nothing if its loader is not the usual one."""
    loader = session.get_component("data_loader")
    if type(getattr(loader, "file_loader", None)).__name__ == "JSONFileLoader":
        loader.file_loader = _JsonFiles()
        loader.list_available_services = partial(_Services, loader, loader.list_available_services)
