"""Store on local files that confirms the digest of what it writes, as S3 does."""

from __future__ import annotations

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore


class ConfirmingStore(LocalStore):
    """A run does not list its part again in such a store, neither before nor after it creates the manifest."""

    def __init__(self, root: str, *, is_confirmed: bool = True) -> None:
        super().__init__(root)
        self._is_confirmed = is_confirmed

    def put(self, key: str, content: bytes) -> bool:
        """Writes; confirms the digest."""
        super().put(key, content)
        return self._is_confirmed
