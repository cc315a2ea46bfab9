"""Operator that writes a report for auditors beside the data.

Modules that only a run needs are imported where they are used, because DAG files import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.destinations import check_destination
from airflow_audit_provider._airflow.task_errors import translate_task_errors

if TYPE_CHECKING:
    from airflow_audit_provider._airflow.report.document import Document
    from airflow_audit_provider.core.ports import Store
    from airflow_audit_provider.pipelines.report import KeptReport
    from airflow_audit_provider.pipelines.verify import TrustAnchors


class CloudflareAuditLogsReportOperator(BaseOperator):
    """Writes one HTML file below ``_reports/`` of the destination: what is covered and proved, and how to check it.

    :param destination: where the audit logs were written; of a stitched history, its root or the folder of one version.
        (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param at: the time that decides what is due and what expires, a datetime, date or RFC 3339 text; None or empty for
        now. The same time, destination, other arguments and version of this package give the same bytes, and then the
        same file. (templated)
    :param public_key: public keys in PEM, for the signatures of seals; without it, the report says that they were not
        checked. (templated)
    :param expected_seal_sha256: digest of a seal that you keep elsewhere, and that must exist. (templated)
    :param tsa_certificate: root certificates in PEM of the time stamp authority. (templated)
    :param changes: also show what the newest records changed, field by field, from the folder ``_changes``. The file
        then contains content of records.

    The report does not read the files with the records: put the task after the verify task. The task succeeds whatever
    the report says. If the verdict is not ``good``, it logs the first line of the report as a warning.

    Returns a dict with ``report_uri``, the ``sha256`` and ``size_bytes`` of the file, ``is_new`` (False if a file with
    these bytes was there), the ``verdict`` (``good``, ``gaps`` or ``wrong``) and the ``headline``.
    """

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "at",
        "public_key",
        "expected_seal_sha256",
        "tsa_certificate",
    )
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        at: datetime | date | str | None = None,
        public_key: str | None = None,
        expected_seal_sha256: str | None = None,
        tsa_certificate: str | None = None,
        changes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.at = at
        self.public_key = public_key
        self.expected_seal_sha256 = expected_seal_sha256
        self.tsa_certificate = tsa_certificate
        self.changes = changes
        check_destination(destination)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Writes the report; returns where it is and what it says."""
        with translate_task_errors(self):
            document, kept = self._write()
            return self._summary(document, kept)

    def _write(self) -> tuple[Document, KeptReport]:
        from airflow_audit_provider._airflow.destinations import dataset_uri
        from airflow_audit_provider._airflow.report.destination_report import destination_report
        from airflow_audit_provider._airflow.report.files import render
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.core.windows.run_window import read_bound
        from airflow_audit_provider.pipelines.report import gather_evidence, keep_report

        at = (read_bound("at", self.at) or SystemClock().now()).replace(microsecond=0)
        store = self._store("")
        evidence = gather_evidence(store, self._store, self._anchors(), at, with_changes=self.changes)
        document = destination_report(dataset_uri(self.destination), evidence, at)
        return document, keep_report(store, at, render(document))

    def _store(self, folder: str) -> Store:
        """Returns the store of the destination, or of a dataset's folder in it."""
        from airflow_audit_provider._airflow.destinations import store_from_connection

        place = f"{self.destination.rstrip('/')}/{folder.rstrip('/')}" if folder else self.destination
        return store_from_connection(place, self.destination_conn_id)

    def _anchors(self) -> TrustAnchors:
        from airflow_audit_provider.adapters.signing import Ed25519Verifier
        from airflow_audit_provider.adapters.timestamps import CertificateVerifier
        from airflow_audit_provider.pipelines.verify import TrustAnchors

        return TrustAnchors(
            Ed25519Verifier([self.public_key]) if self.public_key else None,
            self.expected_seal_sha256 or None,
            CertificateVerifier([self.tsa_certificate]) if self.tsa_certificate else None,
        )

    def _summary(self, document: Document, kept: KeptReport) -> dict[str, Any]:
        """Logs and returns what the report says."""
        from airflow_audit_provider._airflow.destinations import dataset_uri
        from airflow_audit_provider._airflow.report.document import Verdict
        from airflow_audit_provider.core.verification.findings import printable

        uri = f"{dataset_uri(self.destination)}/{kept.key}"
        log = self.log.info if document.verdict is Verdict.GOOD else self.log.warning
        log("%s", printable(document.headline))
        self.log.info("%s the report %s, %d bytes", "Wrote" if kept.is_new else "Found", uri, kept.size_bytes)
        return {
            "report_uri": uri,
            "sha256": kept.sha256,
            "size_bytes": kept.size_bytes,
            "is_new": kept.is_new,
            "verdict": str(document.verdict),
            "headline": document.headline,
        }
