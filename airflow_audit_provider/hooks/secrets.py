"""Secrets that Airflow does not know of by itself, kept out of logs.

Knows: Airflow's masker. Must not know: what a secret opens.
Its one rule: a secret is masked before it is used, in every form in which a text could show it.
"""

from __future__ import annotations

# Shorter lines of a key's text are its frame, or padding; masking them would mask innocent text.
_SHORTEST_LINE = 16


def mask(secret: str) -> None:
    """Have a secret shown as stars from now on, whole or a line of it."""
    from airflow.sdk.log import mask_secret

    lines = [line for line in secret.split("\n") if not line.startswith("-----")]
    for text in {secret, *(line.strip() for line in lines)}:
        if len(text) >= _SHORTEST_LINE:
            mask_secret(text)
