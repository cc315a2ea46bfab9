"""The choice of a format: its extension, its defaults, and which choices are rejected."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec

import pytest

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats import options as module
from airflow_audit_provider.formats.part_format import part_format


@pytest.mark.parametrize(
    ("file_format", "compression", "extension"),
    [
        ("jsonl", None, "jsonl.gz"), ("jsonl", "gzip", "jsonl.gz"), ("jsonl", "zstd", "jsonl.zst"),
        ("jsonl", "none", "jsonl"), ("csv", None, "csv.gz"), ("csv", "zstd", "csv.zst"), ("csv", "none", "csv"),
        ("parquet", None, "parquet"), ("parquet", "gzip", "parquet"), ("parquet", "none", "parquet"),
    ],
)  # fmt: skip
def test_each_choice_has_its_extension(file_format: str, compression: str | None, extension: str) -> None:
    """Text formats have their compression in the extension, Parquet has not."""
    assert part_format(file_format, compression).extension == extension


def test_default_compression_is_gzip_or_zstd() -> None:
    """Text is compressed by gzip, Parquet by zstd."""
    assert [part_format(name).compression for name in ("jsonl", "csv", "parquet")] == ["gzip", "gzip", "zstd"]


@pytest.mark.parametrize(
    ("file_format", "compression", "words"),
    [
        ("avro", None, "file_format 'avro' is unknown. Give one of 'jsonl', 'csv', 'parquet'"),
        ("JSONL", None, "file_format 'JSONL' is unknown"),
        ("jsonl", "brotli", "compression 'brotli' is unknown for jsonl. Give one of 'gzip', 'zstd', 'none'"),
        ("parquet", "snappy", "compression 'snappy' is unknown for parquet"),
        ("csv", "", "compression '' is unknown"),
    ],
)
def test_invalid_choice_is_an_error(file_format: str, compression: str | None, words: str) -> None:
    """The error lists the valid choices."""
    with pytest.raises(ConfigurationError, match=words):
        part_format(file_format, compression)


Finder = Callable[[str], ModuleSpec | None]


@pytest.mark.parametrize(
    ("file_format", "compression", "library", "extra"),
    [
        ("parquet", None, "pyarrow", "parquet"),
        ("jsonl", "zstd", "zstandard", "zstd"),
        ("csv", "zstd", "zstandard", "zstd"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, file_format: str, compression: str | None, library: str, extra: str
) -> None:
    """A missing library is an error when the format is chosen; text with gzip needs none."""

    def find_nothing(name: str) -> None:
        assert name == library

    monkeypatch.setattr(module, "find_spec", find_nothing)
    with pytest.raises(ConfigurationError, match=rf"needs the {library} library.*airflow-audit-provider\[{extra}\]"):
        part_format(file_format, compression)
    assert part_format("jsonl").compression == "gzip"
