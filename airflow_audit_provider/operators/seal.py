"""Operator that seals the manifests of a day.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.verification.envelopes import Signer
    from airflow_audit_provider.core.verification.timestamps import Timestamper
    from airflow_audit_provider.pipelines.seal import SealReport

_SIGNING_KEY = "signing_key"
_TSA_CERTIFICATE = "tsa_certificate"


class CloudflareAuditLogsSealOperator(BaseOperator):
    """Seals the committed manifests, so that verification detects an object that is later deleted, changed or added.

    :param destination: where the audit logs were written. (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param day: the UTC date to seal, a date or its text; None for every day with new manifests. (templated)
    :param signing_conn_id: a connection with an Ed25519 private key in PEM, as its password or in the field
        ``signing_key`` of its extra; None for seals without a signature. (templated)
    :param accept_replaced: keys of all manifests that replace a sealed window, as the error of this task names them.
        (templated)
    :param accepted_by: who accepts them; the seal records it. Required with ``accept_replaced``. (templated)
    :param public_key: public keys in PEM of earlier signing keys, after a change of keys. A day with seals gets another
        seal only if they are signed by one of these keys or by the signing key. (templated)
    :param timestamp_conn_id: a connection of a time stamp authority (RFC 3161), which stamps each seal: its host is a
        URL such as ``https://tsa.example.com/tsr``, login and password are sent if there is a password, and the field
        ``tsa_certificate`` of its extra has the authority's root certificates in PEM; None for no time stamps.
        (templated)
    :param expected_seal_sha256: the ``newest_seal_sha256`` of the previous run, or an older one, kept outside of the
        store, such as in an Airflow Variable; None or empty for the first run. If no seal has this digest, nothing is
        sealed: somebody removed seals or wrote the chain again. (templated)

    Before it seals a day it checks the day's manifests and parts. It refuses a day on which something sealed is missing
    or changed, or was replaced and is not in ``accept_replaced``; it seals the other days first. If the chain is
    broken, or a signature or time stamp in the store was not made with this key or by this authority, the task fails
    with a ``VerificationError`` that names it, after it has sealed what it can.

    Idempotent: a day without new manifests gets no new seal, a late window adds one. The next run signs and stamps
    seals that a run left without a signature or a time stamp. Returns a dict with ``created signed_count
    timestamped_count newest_seal_sha256``; keep that digest elsewhere.
    """

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "day",
        "signing_conn_id",
        "accept_replaced",
        "accepted_by",
        "public_key",
        "timestamp_conn_id",
        "expected_seal_sha256",
    )
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        day: date | str | None = None,
        signing_conn_id: str | None = None,
        accept_replaced: Sequence[str] | None = None,
        accepted_by: str | None = None,
        public_key: str | None = None,
        timestamp_conn_id: str | None = None,
        expected_seal_sha256: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.day = day
        self.signing_conn_id = signing_conn_id
        self.accept_replaced = accept_replaced
        self.accepted_by = accepted_by
        self.public_key = public_key
        self.timestamp_conn_id = timestamp_conn_id
        self.expected_seal_sha256 = expected_seal_sha256
        check_destination(destination)
        _check_keys(accept_replaced)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Seals and signs; returns the summary."""
        with translate_task_errors(self):
            report = self._seal()
            _count_sealed(report)
            return self._report(report)

    def _seal(self) -> SealReport:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.seal import seal
        from airflow_audit_provider.pipelines.seal_checks import Acceptance
        from airflow_audit_provider.pipelines.stitching import check_one_version

        day = read_bound("day", self.day)
        store = store_from_connection(self.destination, self.destination_conn_id)
        check_one_version(store)
        _check_keys(self.accept_replaced)
        acceptance = Acceptance(frozenset(self.accept_replaced or ()), self.accepted_by or "")
        return seal(
            store,
            day.date() if day else None,
            self._signer(),
            acceptance=acceptance,
            timestamper=self._timestamper(),
            expected_seal_sha256=self.expected_seal_sha256 or None,
        )

    def _signer(self) -> Signer | None:
        from airflow_audit_provider._airflow.connection import extra_text, get_connection
        from airflow_audit_provider._airflow.secrets import mask
        from airflow_audit_provider.adapters.signing import Ed25519Signer

        if not self.signing_conn_id:
            return None
        conn = get_connection(self.signing_conn_id, "Create it, with the signing key in PEM as its password.")
        key = extra_text(self.signing_conn_id, conn, _SIGNING_KEY) or conn.password or ""
        # Airflow masks the password, but a field of the extra only if its name is on Airflow's list of sensitive names.
        mask(key)
        return Ed25519Signer(key, [self.public_key] if self.public_key else ())

    def _timestamper(self) -> Timestamper | None:
        from airflow_audit_provider._airflow.connection import extra_text, get_connection
        from airflow_audit_provider.adapters.timestamps import HttpTimestamper, TimestampAuthority

        if not self.timestamp_conn_id:
            return None
        conn = get_connection(
            self.timestamp_conn_id, "Create it, with the URL of the time stamp authority as its host."
        )
        certificate = extra_text(self.timestamp_conn_id, conn, _TSA_CERTIFICATE)
        certificates = (certificate,) if certificate else ()
        return HttpTimestamper(TimestampAuthority(_url_of(conn), conn.login or "", conn.password or "", certificates))

    def _report(self, report: SealReport) -> dict[str, Any]:
        """Logs and returns the summary; raises ``VerificationError`` if a finding is severe."""
        import msgspec

        from airflow_audit_provider.core.verification.findings import findings_table, printable, severe

        summary = {
            "created": [msgspec.to_builtins(seal) for seal in report.created],
            "signed_count": report.signed_count,
            "timestamped_count": report.timestamped_count,
            "newest_seal_sha256": report.newest_seal_sha256,
        }
        self.log.info("Sealed %s", summary)
        if report.findings:
            self.log.warning("Findings:\n%s", findings_table(report.findings))
        severe_findings = severe(report.findings)
        if severe_findings:
            first = severe_findings[0]
            raise VerificationError(
                f"The seals have {count_of(len(severe_findings), 'severe finding')}; the first is {first.kind} at "
                f"{printable(first.key)}: {printable(first.detail)} What could be sealed is sealed. Follow the remedy "
                "of each finding in the task's log, which also has the newest digest."
            )
        return summary


def _url_of(conn: Any) -> str:
    """Returns the connection's host as a URL, with its schema and port if the host has none."""
    host = conn.host or ""
    if "://" in host:
        return str(host)
    return f"{conn.schema or 'https'}://{host}{f':{conn.port}' if conn.port else ''}"


def _check_keys(accept_replaced: object) -> None:
    """Raises ``ConfigurationError`` for one text in place of a list: its characters would be taken as keys."""
    if isinstance(accept_replaced, str) and "{" not in accept_replaced:
        raise ConfigurationError(f"accept_replaced is {accept_replaced!r}. Give a list of manifest keys.")


def _count_sealed(report: SealReport) -> None:
    """Sends the counts of a report as metrics."""
    from airflow_audit_provider._airflow.observability.metrics import Metrics

    metrics = Metrics({})
    metrics.add("commit.seals", len(report.created))
    metrics.add("commit.signatures", report.signed_count)
    metrics.add("commit.timestamps", report.timestamped_count)
