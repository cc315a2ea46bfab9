"""Looks up the addresses of a host within a limit of time.

The system's look-up cannot be interrupted: depending on its configuration it waits for minutes for a name server that
does not answer. It therefore runs in a thread of its own, which ends with it and is not waited for.
"""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from queue import Empty, SimpleQueue


def addresses_of(host: str, port: int, timeout_seconds: float | None) -> list[str]:
    """Returns the addresses of a host, each once, in the order of preference.

    Raises ``TimeoutError`` if the look-up takes longer than ``timeout_seconds``, ``OSError`` if it fails.
    """
    if _is_address(host):
        return [host]
    outcome: SimpleQueue[list[str] | OSError] = SimpleQueue()
    look_up = threading.Thread(target=lambda: outcome.put(_look_up(host, port)), name="look-up", daemon=True)
    look_up.start()
    try:
        found = outcome.get(timeout=timeout_seconds)
    except Empty:
        raise TimeoutError(f"the look-up of {host} takes longer than {timeout_seconds:.1f} seconds") from None
    if isinstance(found, OSError):
        raise found
    return found


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int) -> list[str] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError as error:
        # A label of the name is empty or longer than 63 characters, or the name contains NUL.
        return OSError(f"{host} is not a host name ({error})")
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
