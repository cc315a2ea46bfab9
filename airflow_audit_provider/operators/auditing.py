"""The auditor's operators: verify what lies in a destination, and seal it.

Knows: Airflow's operators and connections. Must not know: what is compared, how a seal is chained.
Its one rule: it translates a task into a use case, and a report into an XCom, a log or a failure.

Parsing a DAG makes an operator and runs none: what only a run needs is imported where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.hooks.failures import task_failures

if TYPE_CHECKING:
    from airflow_audit_provider.auditing import Report
    from airflow_audit_provider.core.signatures import Signer
    from airflow_audit_provider.notary import Sealing

_SIGNING_KEY = "signing_key"


class CloudflareAuditLogsVerifyOperator(BaseOperator):
    """Verifies a destination: parts, records, generations, objects nobody names, seals; writes nothing.

    :param destination: where the audit logs landed. (templated)
    :param destination_conn_id: the connection for it. (templated)
    :param start: first instant of the range, a datetime, date or RFC 3339 text; open when None. (templated)
    :param end: end of the range, not inside it; open when None. (templated)
    :param public_key: public keys in PEM, for the signatures of seals. (templated)
    :param expected_seal_sha256: digest of a seal, kept elsewhere; without it the loss of the newest seals together with
        all that only they name cannot be noticed. (templated)

    Windows that share an instant with the half-open range are verified whole. Fails without retries, as a
    ``VerificationError``, when a finding is severe; the log has them all. Returns a dict with ``window_count part_count
    record_count seal_count severe_count mild_count newest_seal_sha256``.
    """

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "start",
        "end",
        "public_key",
        "expected_seal_sha256",
    )
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        start: datetime | date | str | None = None,
        end: datetime | date | str | None = None,
        public_key: str | None = None,
        expected_seal_sha256: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.start = start
        self.end = end
        self.public_key = public_key
        self.expected_seal_sha256 = expected_seal_sha256

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Verify the destination; return the counts."""
        with task_failures(self):
            report = self._verify()
            _count_verified(report)
            self._refuse_severe(report)
        return report.summary()

    def _verify(self) -> Report:
        from airflow_audit_provider.adapters.ed25519 import Ed25519Verifier
        from airflow_audit_provider.auditing import Evidence, verify
        from airflow_audit_provider.core.run_window import read_bound
        from airflow_audit_provider.operators.destinations import open_destination

        verifier = Ed25519Verifier([self.public_key]) if self.public_key else None
        return verify(
            open_destination(self.destination, self.destination_conn_id),
            read_bound("start", self.start),
            read_bound("end", self.end),
            Evidence(verifier, self.expected_seal_sha256 or None),
        )

    def _refuse_severe(self, report: Report) -> None:
        """Log every finding; raise when one is severe."""
        from airflow_audit_provider.core.findings import findings_table, severe

        self.log.info("Verified %s", report.summary())
        if report.findings:
            self.log.warning("Findings:\n%s", findings_table(report.findings))
        grave = severe(report.findings)
        if grave:
            raise VerificationError(
                f"{len(grave)} severe findings, the first is {grave[0].kind} at {grave[0].key}: {grave[0].detail} "
                "The task's log has all of them."
            )


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
        with task_failures(self):
            sealing = self._seal()
        _count_sealed(sealing)
        return self._report(sealing)

    def _seal(self) -> Sealing:
        from airflow_audit_provider.core.run_window import read_bound
        from airflow_audit_provider.notary import seal
        from airflow_audit_provider.operators.destinations import open_destination

        day = read_bound("day", self.day)
        store = open_destination(self.destination, self.destination_conn_id)
        return seal(store, day.date() if day else None, self._signer())

    def _signer(self) -> Signer | None:
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        from airflow_audit_provider.adapters.ed25519 import Ed25519Signer
        from airflow_audit_provider.hooks.secrets import mask

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

    def _report(self, sealing: Sealing) -> dict[str, Any]:
        """Log and return what was done; a chain that is broken is a warning here and a failure of verifying."""
        import msgspec

        from airflow_audit_provider.core.findings import findings_table

        if sealing.findings:
            self.log.warning("The chain of seals is broken:\n%s", findings_table(sealing.findings))
        summary = {
            "created": [msgspec.to_builtins(made) for made in sealing.created],
            "signed_count": sealing.signed_count,
            "newest_seal_sha256": sealing.newest_seal_sha256,
        }
        self.log.info("Sealed %s", summary)
        return summary


def _count_verified(report: Report) -> None:
    """Send what was looked at and found as metrics."""
    from airflow_audit_provider.operators.metrics import Metrics

    metrics = Metrics({})
    metrics.add("verify.windows", report.window_count)
    metrics.add("verify.parts", report.part_count)
    metrics.add("verify.records", report.record_count)
    metrics.add("verify.bytes", report.size_bytes)
    for (severity, kind), count in Counter((found.severity, found.kind) for found in report.findings).items():
        metrics.add("verify.findings", count, severity=str(severity), kind=str(kind))


def _count_sealed(sealing: Sealing) -> None:
    """Send what was written as metrics."""
    from airflow_audit_provider.operators.metrics import Metrics

    metrics = Metrics({})
    metrics.add("commit.seals", len(sealing.created))
    metrics.add("commit.signatures", sealing.signed_count)
