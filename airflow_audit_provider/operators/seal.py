"""Operator that seals the manifests of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.verification.seals import Signer
    from airflow_audit_provider.pipelines.seal import SealReport

_SIGNING_KEY = "signing_key"


class CloudflareAuditLogsSealOperator(BaseOperator):
    """Seals what was committed, so that deleting, changing or adding an object afterwards is found by verifying.

    :param destination: where the audit logs landed. (templated)
    :param destination_conn_id: the connection for it. (templated)
    :param day: the UTC date to seal, a date or its text; when None, every day with something new. (templated)
    :param signing_conn_id: a connection with an Ed25519 private key in PEM, as its password or its extra
        ``signing_key``; when None, seals are not signed. (templated)

    Idempotent: a day with nothing new gets no new seal, a late window adds one. Seals that a run left unsigned are
    signed by the next. Returns a dict with ``created signed_count newest_seal_sha256``; keep that digest elsewhere.
    """

    template_fields: Sequence[str] = ("destination", "destination_conn_id", "day", "signing_conn_id")
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        day: date | str | None = None,
        signing_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.day = day
        self.signing_conn_id = signing_conn_id

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Seal and sign; return what was created."""
        with translate_task_errors(self):
            sealing = self._seal()
        _count_sealed(sealing)
        return self._report(sealing)

    def _seal(self) -> SealReport:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.seal import seal

        day = read_bound("day", self.day)
        store = store_from_connection(self.destination, self.destination_conn_id)
        return seal(store, day.date() if day else None, self._signer())

    def _signer(self) -> Signer | None:
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        from airflow_audit_provider._airflow.secrets import mask
        from airflow_audit_provider.adapters.signing import Ed25519Signer

        if not self.signing_conn_id:
            return None
        try:
            conn = BaseHook.get_connection(self.signing_conn_id)
        except AirflowNotFoundException as error:
            raise ConfigurationError(
                f"There is no connection {self.signing_conn_id!r}. Make it, with the signing key as its password."
            ) from error
        key = conn.extra_dejson.get(_SIGNING_KEY) or conn.password or ""
        # Airflow masks a password, and an extra only if its name sounds like a secret to it.
        mask(key)
        return Ed25519Signer(key)

    def _report(self, sealing: SealReport) -> dict[str, Any]:
        """Log and return what was done; a chain that is broken is a warning here and a failure of verifying."""
        import msgspec

        from airflow_audit_provider.core.verification.findings import findings_table

        if sealing.findings:
            self.log.warning("The chain of seals is broken:\n%s", findings_table(sealing.findings))
        summary = {
            "created": [msgspec.to_builtins(made) for made in sealing.created],
            "signed_count": sealing.signed_count,
            "newest_seal_sha256": sealing.newest_seal_sha256,
        }
        self.log.info("Sealed %s", summary)
        return summary


def _count_sealed(sealing: SealReport) -> None:
    """Send what was written as metrics."""
    from airflow_audit_provider._airflow.observability.metrics import Metrics

    metrics = Metrics({})
    metrics.add("commit.seals", len(sealing.created))
    metrics.add("commit.signatures", sealing.signed_count)
