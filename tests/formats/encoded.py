"""Encodes records into one part, as a pull does."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.formats.part_format import PartFormat


def encode(choice: PartFormat, version: ApiVersion, *pieces: Sequence[AuditRecord]) -> bytes:
    """Returns a part of these records, given piece by piece."""
    encoder = choice.open_encoder(version)
    return b"".join([encoder.encode(piece, lines_of(piece)) for piece in pieces] + [encoder.finish()])
