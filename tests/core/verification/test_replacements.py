"""What is checked of one window does not depend on how many windows are sealed."""

from __future__ import annotations

from airflow_audit_provider.core.verification.manifest_chain import StoredManifest, read_chain
from airflow_audit_provider.core.verification.replacements import parts_in_force
from tests.pipelines.history.generated import committed, windows


class _Sealed:
    """Keys of a long history that only answers whether it has a key, and counts the questions."""

    def __init__(self, key: str) -> None:
        self.asked_count = 0
        self._key = key

    def __contains__(self, key: object) -> bool:
        self.asked_count += 1
        return key == self._key


def test_parts_in_force_asks_for_the_keys_of_its_window_only() -> None:
    """Going through the sealed keys of 50,000 windows for each of them would take minutes."""
    stored = [StoredManifest(key, one) for key, one in committed(windows(1)) if key.startswith("_manifests/")]
    chain = read_chain(stored)
    for key, expected in ((stored[0].key, list(chain.generations[0].manifest.parts)), ("other", [])):
        sealed = _Sealed(key)
        assert list(parts_in_force(chain, sealed, {}).values()) == expected
        assert sealed.asked_count == 1
