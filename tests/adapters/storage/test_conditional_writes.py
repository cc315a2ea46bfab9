"""What each server says to "only if absent", asked by its own raw client: the ground the contract stands on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.adapters.storage.real_stores import CREATE_ONLY, OVERWRITING
from tests.adapters.storage.store_fixtures import OpenStore, Servers

pytestmark = pytest.mark.integration
_MADE = {200, 201}
_REFUSED = {409, 412}


@pytest.mark.parametrize("name", CREATE_ONLY)
def test_the_server_makes_an_object_once(name: str, servers: Servers) -> None:
    """The second conditional write is refused and the first one's bytes stay."""
    server = servers(name)
    server.make_bucket("twice")
    assert server.put_if_absent("twice", "key", b"first") in _MADE
    assert server.put_if_absent("twice", "key", b"second") in _REFUSED
    assert server.content("twice", "key") == b"first"


@pytest.mark.parametrize("name", CREATE_ONLY)
def test_the_server_lets_one_of_many_win(name: str, servers: Servers) -> None:
    """Of eight conditional writes at once one is taken, twenty times over."""
    server = servers(name)
    server.make_bucket("race")
    with ThreadPoolExecutor(8) as writers:
        for number in range(20):
            key = f"key{number}"
            told = list(writers.map(lambda n, key=key: server.put_if_absent("race", key, b"%d" % n), range(8)))
            assert [status for status in told if status in _MADE] == [min(told)], told
            assert sorted(told)[1] in _REFUSED
            assert server.content("race", key) == b"%d" % told.index(min(told))


@pytest.mark.parametrize("name", OVERWRITING)
def test_some_servers_take_the_condition_for_nothing(name: str, servers: Servers, open_at: OpenStore) -> None:
    """These overwrite, asked raw or through the store: a create there is no promise, so the operator refuses them."""
    server = servers(name)
    server.make_bucket("twice")
    assert [server.put_if_absent("twice", "key", content) for content in (b"first", b"second")] == [200, 200]
    assert server.content("twice", "key") == b"second"
    store = open_at(name, "/x")
    assert store.create("key", b"first")
    assert store.create("key", b"second")
