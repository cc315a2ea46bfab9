"""Conditional writes of each server by its own client: the guarantee that the store contract relies on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.adapters.storage.real_stores import CREATE_ONLY, OVERWRITING, Servers
from tests.adapters.storage.store_fixtures import OpenStore
from tests.hypothesis_profiles import places

pytestmark = pytest.mark.integration
_CREATED = {200, 201}
_REJECTED = {409, 412}


@pytest.mark.parametrize("name", CREATE_ONLY)
def test_second_conditional_write_is_rejected(name: str, servers: Servers) -> None:
    """The second conditional write is rejected, and the bytes of the first one stay."""
    server = servers(name)
    server.make_bucket("twice")
    assert server.put_if_absent("twice", "key", b"first") in _CREATED
    assert server.put_if_absent("twice", "key", b"second") in _REJECTED
    assert server.content("twice", "key") == b"first"


@pytest.mark.parametrize("name", CREATE_ONLY)
def test_one_of_concurrent_conditional_writes_wins(name: str, servers: Servers) -> None:
    """Of eight concurrent conditional writes exactly one is accepted, five times over, and fifty times at night."""
    server = servers(name)
    server.make_bucket("race")
    with ThreadPoolExecutor(8) as writers:
        for number in places(50, 10):
            key = f"key{number}"
            statuses = list(writers.map(lambda n, key=key: server.put_if_absent("race", key, b"%d" % n), range(8)))
            assert [status for status in statuses if status in _CREATED] == [min(statuses)], statuses
            assert sorted(statuses)[1] in _REJECTED
            assert server.content("race", key) == b"%d" % statuses.index(min(statuses))


@pytest.mark.parametrize("name", OVERWRITING)
def test_servers_that_ignore_the_condition_overwrite(name: str, servers: Servers, open_at: OpenStore) -> None:
    """These servers overwrite, by their own client and through the store, so the operator rejects them."""
    server = servers(name)
    server.make_bucket("twice")
    assert [server.put_if_absent("twice", "key", content) for content in (b"first", b"second")] == [200, 200]
    assert server.content("twice", "key") == b"second"
    store = open_at(name, "/x")
    assert store.create("key", b"first")
    assert store.create("key", b"second")
