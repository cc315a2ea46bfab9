"""What a listing of local files contains, in which order, and how many operations it takes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.exceptions import StorageError
from tests.adapters.storage.store_fixtures import put
from tests.function_calls import count_calls

_FOLDERS, _FILES_EACH = 5, 20
_NOBODY = 65534
# "-" and "." sort before "/", "0" after it; the last name is no UTF-8.
_NAMES = st.sampled_from(["a", "b", "a-1", "a.json", "a0", ".hidden", "dt=2026-11-01", "new\nline", "ü", "\udcff"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_KINDS = st.sampled_from(["file", "file", "file", "folder", "link to a file", "link to a folder", "dead link", "pipe"])
_PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "a/b/", "missing/", "a-1/"])


class _BrokenEntries:
    """Entries of a folder that cannot be read to their end."""

    def __init__(self) -> None:
        self.closed = False

    def __enter__(self) -> _BrokenEntries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> _BrokenEntries:
        return self

    def __next__(self) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def close(self) -> None:
        """Notes that the entries are closed."""
        self.closed = True


@pytest.mark.parametrize("kind", ["keys", "sizes", "folders"])
def test_folder_that_cannot_be_read_to_its_end_is_an_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a listing never counts as a whole one, and the folder is closed."""
    broken = _BrokenEntries()
    monkeypatch.setattr(os, "scandir", lambda _: broken)
    with pytest.raises(StorageError):
        list(getattr(LocalStore(str(tmp_path)), f"list_{kind}")(""))
    assert broken.closed


def _listed_before(root: Path, prefix: str) -> list[tuple[str, int]]:
    """Returns what the first implementation listed, by ``os.walk`` and a ``Path`` for each file."""

    def files(folder: Path) -> Iterator[Path]:
        for name, folders, others in os.walk(folder):
            yield from (path for path in (Path(name, each) for each in folders) if path.is_symlink())
            yield from (Path(name, each) for each in others)

    def size_bytes(path: Path) -> int:
        if not path.exists():
            return 0
        status = path.stat()
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    return sorted((path.relative_to(root).as_posix(), size_bytes(path)) for path in files(root / prefix))


def _make(root: Path, name: str, kind: str) -> None:
    """Makes a file of a kind, unless another one of the tree is in its way."""
    path = root / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            path.mkdir(exist_ok=True)
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "file":
            path.write_bytes(name.encode("utf-8", "surrogateescape"))
        else:
            path.symlink_to({"link to a file": __file__, "link to a folder": f"{root}", "dead link": "/nowhere"}[kind])
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return


@pytest.mark.integration
@given(tree=st.dictionaries(_PATHS, _KINDS, max_size=12), prefix=_PREFIXES)
def test_listing_of_any_tree_is_what_the_first_implementation_listed(tree: dict[str, str], prefix: str) -> None:
    """The keys, their order and their sizes are those of the simple implementation."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name, kind in tree.items():
            # A link to a folder is not followed, so nothing is made in it either.
            if not any((root / parent).is_symlink() for parent in Path(name).parents):
                _make(root, name, kind)
        expected = _listed_before(root, prefix)
        assert list(LocalStore(folder).list_sizes(prefix)) == expected
        assert list(LocalStore(f"{folder}/").list_keys(prefix)) == [key for key, _ in expected]


@pytest.mark.parametrize("list_by", [LocalStore.list_keys, LocalStore.list_sizes])
def test_link_to_itself_is_an_error_of_the_listing(
    list_by: Callable[[LocalStore, str], Iterator[object]], tmp_path: Path
) -> None:
    """A link that leads to itself is an error, as for every reader of the folder."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError, match="cannot be listed") as caught:
        list(list_by(LocalStore(str(tmp_path)), ""))
    assert not caught.value.retryable


@pytest.mark.parametrize("list_by", [LocalStore.list_keys, LocalStore.list_sizes])
def test_folder_whose_files_cannot_be_opened_is_an_error_of_the_listing(
    list_by: Callable[[LocalStore, str], Iterator[object]],
) -> None:
    """A folder that may be listed but not entered is an error before any of its files is read."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        put(LocalStore(folder), "a/x")
        (Path(folder) / "a").chmod(0o444)
        with _as_user_without_rights(), pytest.raises(StorageError, match="has the permission"):
            list(list_by(LocalStore(folder), ""))
        (Path(folder) / "a").chmod(0o755)


@contextmanager
def _as_user_without_rights() -> Iterator[None]:
    """Gives up the rights of root, who may enter every folder; changes nothing for other users."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    ("list_by", "stats_each", "calls_each"), [(LocalStore.list_keys, 0, 5), (LocalStore.list_sizes, 1, 8)]
)
def test_listing_calls_the_system_once_a_folder_and_at_most_once_a_key(
    list_by: Callable[[LocalStore, str], Iterator[object]], stats_each: int, calls_each: int, tmp_path: Path
) -> None:
    """A folder is read once, a file is looked at only for its size, and a key costs a few calls of functions."""
    for folder in range(_FOLDERS):
        (tmp_path / f"{folder}").mkdir()
        for file in range(_FILES_EACH):
            (tmp_path / f"{folder}/{file}").touch()
    calls = count_calls(lambda: list(list_by(LocalStore(str(tmp_path)), "")))
    keys = _FOLDERS * _FILES_EACH
    assert calls["scandir"] == _FOLDERS + 1
    assert calls["stat"] == stats_each * keys
    assert calls["lstat"] == 0
    assert calls.total() <= calls_each * keys + 30 * (_FOLDERS + 2)
