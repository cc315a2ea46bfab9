"""Operator that verifies a destination: every part, manifest and seal.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import StorageError, VerificationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.ports import Store
    from airflow_audit_provider.pipelines.verify import LockCheck, VerifyReport


class CloudflareAuditLogsVerifyOperator(BaseOperator):
    """Verifies a destination: parts, records, generations, unreferenced objects and seals.

    :param destination: where the audit logs were written; of a stitched history, its root or the folder of one version.
        (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param start: start of the range, a datetime, date or RFC 3339 text; None for no start. (templated)
    :param end: end of the range, exclusive; None for no end. (templated)
    :param public_key: public keys in PEM, for the signatures of seals. (templated)
    :param expected_seal_sha256: digest of a seal that you keep elsewhere. Without it, a verification cannot detect that
        somebody deleted the newest seals together with everything that only these seals name. (templated)
    :param expect_lock: date or time until which Object Lock must protect every object, for a destination on S3; a
        datetime, date or RFC 3339 text, such as ``"{{ macros.ds_add(ds, 365) }}"``. (templated)
    :param record_pass: if nothing severe was found, write a record below ``_verified/``, which ``coverage`` shows. If
        False, nothing is written. Without permission to write, the task logs a warning and succeeds.
    :param tsa_certificate: root certificates in PEM of the time stamp authority; with them, every seal has to be proved
        by a time stamp. (templated)
    :param sealed_within: longest time until a window is sealed. The first seal of each window must be proved by a time
        stamp: its own, or that of a later seal. The time in it must be at most this long after the end of the UTC day
        on which the window starts, or after the end of the window if that is later. Requires ``tsa_certificate``.

    A window that overlaps the half-open range is verified whole. If a finding is severe, the task fails without retries
    with a ``VerificationError``; its log has all findings. Returns a dict with ``window_count part_count record_count
    seal_count severe_count mild_count newest_seal_sha256``, and with ``expect_lock`` also ``locked_count unlocked_count
    governance_count first_unlock_at`` (the earliest end of a lock).
    """

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "start",
        "end",
        "public_key",
        "expected_seal_sha256",
        "expect_lock",
        "tsa_certificate",
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
        expect_lock: datetime | date | str | None = None,
        record_pass: bool = True,
        tsa_certificate: str | None = None,
        sealed_within: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.start = start
        self.end = end
        self.public_key = public_key
        self.expected_seal_sha256 = expected_seal_sha256
        self.expect_lock = expect_lock
        self.record_pass = record_pass
        self.tsa_certificate = tsa_certificate
        self.sealed_within = sealed_within
        check_destination(destination)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Verifies the destination; returns the counts."""
        with translate_task_errors(self):
            report, streams = self._verify()
            _count_verified(report)
            self._raise_for_severe(report)
            for destination, verified in streams.items():
                self._record_pass(destination, verified)
        return report.summary()

    def _verify(self) -> tuple[VerifyReport, dict[str, VerifyReport]]:
        """Returns the report, and that of each dataset by its destination: one, or two of a stitched history."""
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.adapters.signing import Ed25519Verifier
        from airflow_audit_provider.adapters.timestamps import CertificateVerifier
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.stitched_verify import StitchedStores, verify_stitched
        from airflow_audit_provider.pipelines.stitching import held_stitching
        from airflow_audit_provider.pipelines.verify import TrustAnchors, verify

        anchors = TrustAnchors(
            Ed25519Verifier([self.public_key]) if self.public_key else None,
            self.expected_seal_sha256 or None,
            CertificateVerifier([self.tsa_certificate]) if self.tsa_certificate else None,
            self.sealed_within,
        )
        store = store_from_connection(self.destination, self.destination_conn_id)
        bounds = read_bound("start", self.start), read_bound("end", self.end)
        stitching = held_stitching(store)
        if stitching is None:
            report = verify(store, *bounds, anchors, self._lock_check(store))
            return report, {self.destination: report}

        def destination_of(version: str) -> str:
            return f"{self.destination.rstrip('/')}/{version}"

        stores = StitchedStores(
            store, lambda version: store_from_connection(destination_of(version), self.destination_conn_id)
        )
        found = verify_stitched(stores, stitching, bounds, anchors, self._lock_check)
        return found.whole, {destination_of(version): report for version, report in found.streams.items()}

    def _lock_check(self, store: Store) -> LockCheck | None:
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.adapters.storage.fsspec_store import require_object_locks
        from airflow_audit_provider.core.verification.object_locks import read_lock_date
        from airflow_audit_provider.pipelines.verify import LockCheck

        until = read_lock_date("expect_lock", self.expect_lock or None, SystemClock().now())
        return LockCheck(require_object_locks(store), until) if until is not None else None

    def _record_pass(self, destination: str, report: VerifyReport) -> None:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.pipelines.pass_records import record_pass

        record = report.passed(SystemClock().now())
        if record is None or not self.record_pass:
            return
        try:
            record_pass(store_from_connection(destination, self.destination_conn_id), record)
        except StorageError as error:
            self.log.warning("The verification passed, but the destination keeps no record of it. %s", error)

    def _raise_for_severe(self, report: VerifyReport) -> None:
        """Logs every finding; raises ``VerificationError`` if one is severe."""
        from airflow_audit_provider.core.verification.findings import findings_table, printable, severe

        self.log.info("Verified %s", report.summary())
        if report.findings:
            self.log.warning("Findings:\n%s", findings_table(report.findings))
        severe_findings = severe(report.findings)
        if severe_findings:
            first = severe_findings[0]
            detail = printable(first.detail)
            raise VerificationError(
                f"The destination has {count_of(len(severe_findings), 'severe finding')}; the first is {first.kind} at "
                f"{printable(first.key)}: {detail} Follow the remedy of each finding in the task's log."
            )


def _count_verified(report: VerifyReport) -> None:
    """Sends the counts of a report as metrics."""
    from airflow_audit_provider._airflow.observability.metrics import Metrics

    metrics = Metrics({})
    metrics.add("verify.windows", report.window_count)
    metrics.add("verify.parts", report.part_count)
    metrics.add("verify.records", report.record_count)
    metrics.add("verify.bytes", report.size_bytes)
    for (severity, kind), count in Counter((found.severity, found.kind) for found in report.findings).items():
        metrics.add("verify.findings", count, severity=str(severity), kind=str(kind))
