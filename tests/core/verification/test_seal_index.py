"""When an index of seals is written and when older ones are removed, at the exact limits."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.archive.object_keys import seal_index_key, seal_key
from airflow_audit_provider.core.verification.seal_index import (
    is_worth_writing,
    newer_index,
    newest_index,
    oversized_index,
    removable_indexes,
    write_index,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    ("unindexed_count", "index_bytes", "expected"),
    [
        (3, 0, False),
        (4, 0, True),
        (0, 1, False),
        (1, 1, True),
        (1, 4 * MIB, True),
        (1, 4 * MIB + 1, False),
        (3, 4 * MIB + 1, False),
        (4, 4 * MIB + 1, True),
    ],
)
def test_index_is_worth_writing_from_four_seals_or_while_it_is_small(
    unindexed_count: int, index_bytes: int, expected: bool
) -> None:
    """The first index has four seals, and so has one after an index of more than 4 MiB."""
    assert is_worth_writing(unindexed_count, index_bytes) is expected


@pytest.mark.parametrize(
    ("count", "size_bytes", "are_removed"),
    [(15, 1, False), (16, 1, True), (2, 16 * MIB - 1, False), (2, 16 * MIB, True), (1, 32 * MIB, True)],
)
def test_older_indexes_are_removable_from_sixteen_or_32_mib(count: int, size_bytes: int, are_removed: bool) -> None:
    """The sizes of seals do not count."""
    keys = [seal_index_key(number) for number in range(1, count + 1)]
    sizes = {**dict.fromkeys(keys, size_bytes), seal_key(1): 64 * MIB}
    assert removable_indexes(sizes) == (keys if are_removed else [])


@pytest.mark.parametrize(("number", "is_newer"), [(1, False), (2, False), (3, True)])
def test_index_is_used_up_to_the_number_of_the_newest_seal(number: int, is_newer: bool) -> None:
    """A newer one is reported instead."""
    sizes = {seal_key(1): 1, seal_key(2): 1, seal_index_key(number): 1}
    assert newest_index(sizes) == (None if is_newer else seal_index_key(number))
    assert bool(newer_index(sizes)) is is_newer


@pytest.mark.parametrize("size_bytes", range(7))
def test_index_is_oversized_from_one_byte_more_than_all_copies_take(size_bytes: int) -> None:
    """Objects after its number do not count, because it cannot copy them."""
    objects = {seal_key(1): b"x" * size_bytes, seal_key(2): b"y" * size_bytes}
    key, most = seal_index_key(2), len(write_index(objects))
    sizes = {**{one: len(content) for one, content in objects.items()}, seal_key(3): MIB}
    assert oversized_index(key, {**sizes, key: most}) is None
    assert oversized_index(key, {**sizes, key: most + 1}) is not None
