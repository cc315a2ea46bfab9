"""An unsuitable machine or an incomplete account is refused with a sentence that says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from demo.account import named_account
from demo.preflight import Machine, RefusalError, look, refuse

GOOD = Machine(version=(3, 12), platform="linux", free_bytes=50_000_000_000, has_venv=True, installed=False)


def test_good_machine_passes(tmp_path: Path) -> None:
    """A machine with everything is accepted, and the properties of this machine can be read."""
    refuse(GOOD)
    assert look(tmp_path, installed=True).free_bytes > 0


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (replace(GOOD, version=(3, 10)), "PYTHON=python3.12"),
        (replace(GOOD, version=(3, 15)), "PYTHON=python3.12"),
        (replace(GOOD, platform="win32"), "inside WSL"),
        (replace(GOOD, free_bytes=10_000_000), "free some room"),
        (replace(GOOD, has_venv=False), "python3-venv"),
    ],
)
def test_bad_machine_is_told_what_to_do(machine: Machine, said: str) -> None:
    """Each missing requirement has its own message with its own remedy."""
    with pytest.raises(RefusalError, match=said):
        refuse(machine)


def test_installed_environment_needs_less() -> None:
    """After the installation, neither the venv module nor its disk space is required."""
    refuse(replace(GOOD, has_venv=False, free_bytes=1_000_000_000, installed=True))


@pytest.mark.parametrize("name", ["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"])
def test_half_an_account_is_refused(name: str) -> None:
    """A token without an account id, or an id without a token, is an error and does not select the fake."""
    with pytest.raises(RefusalError, match="is not set"):
        named_account({name: "x"})


def test_account_is_taken_from_the_environment() -> None:
    """Token and account id make a connection, and a base URL becomes its host."""
    assert named_account({}) is None
    environ = {"CLOUDFLARE_API_TOKEN": "t", "CLOUDFLARE_ACCOUNT_ID": "a"}
    plain = named_account(environ)
    other = named_account(environ | {"CLOUDFLARE_BASE_URL": "http://127.0.0.1:1/client/v4"})
    assert plain is not None
    assert other is not None
    assert plain.connection() == {"conn_type": "cloudflare", "password": "t", "extra": {"account_id": "a"}}
    assert other.connection()["host"] == "http://127.0.0.1:1/client/v4"
