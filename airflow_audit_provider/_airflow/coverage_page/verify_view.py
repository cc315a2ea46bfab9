"""Turns the records of verifications and the chain of seals into what the verify page shows; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from airflow_audit_provider._airflow.coverage_page.views import Fact, instant_text
from airflow_audit_provider.core.archive.object_keys import signature_key, timestamp_key
from airflow_audit_provider.core.verification.pass_records import Verified
from airflow_audit_provider.core.verification.seal_content import Seal
from airflow_audit_provider.core.windows.window import format_instant
from airflow_audit_provider.pipelines.seal_objects import SealObjects

_MOST_LISTED = 100


class VerifiedRow(NamedTuple):
    """Adjacent windows that passed the same verification last."""

    start: str
    end: str
    windows: str
    verified: str


class SealRow(NamedTuple):
    """A seal of the chain."""

    number: int
    day: str
    sealed: str
    manifests: str
    signature: str
    timestamp: str


class VerifyView(NamedTuple):
    """The verify page; the newest spans and seals first."""

    facts: tuple[Fact, ...]
    spans: tuple[VerifiedRow, ...]
    more_spans: int
    findings: tuple[Fact, ...]
    seals: tuple[SealRow, ...]
    more_seals: int


def verify_view(verified: Verified, sealed: SealObjects) -> VerifyView:
    """Returns the page of what verifications and seals state. No signature is checked here."""
    chain = sealed.chain
    findings = [*sealed.findings, *chain.findings]
    return VerifyView(
        facts=(
            Fact("Last verification that passed", instant_text(verified.last_passed_at)),
            Fact("Windows whose newest generation was verified", f"{verified.verified_count:,}"),
            Fact("Windows that are not verified", f"{verified.not_verified_count:,}"),
            Fact("Damaged records of verifications", f"{verified.unreadable_count:,}"),
            Fact("Seals", f"{len(chain.seals):,}"),
            Fact("Findings in the chain of seals", f"{len(findings):,}"),
        ),
        spans=tuple(
            VerifiedRow(
                format_instant(span.start),
                format_instant(span.end),
                f"{span.window_count:,}",
                instant_text(span.verified_at, "not recorded"),
            )
            for span in reversed(verified.spans[-_MOST_LISTED:])
        ),
        more_spans=max(0, len(verified.spans) - _MOST_LISTED),
        findings=tuple(Fact(f"{one.severity} {one.kind}, {one.key}", one.detail) for one in findings[:_MOST_LISTED]),
        seals=tuple(_seal(seal, chain.objects) for seal in reversed(chain.seals[-_MOST_LISTED:])),
        more_seals=max(0, len(chain.seals) - _MOST_LISTED),
    )


def _seal(seal: Seal, keys: Collection[str]) -> SealRow:
    return SealRow(
        number=seal.number,
        day=str(seal.day),
        sealed=instant_text(seal.sealed_at or None, "not stated"),
        manifests=f"{len(seal.manifests):,}",
        signature="yes" if signature_key(seal.number) in keys else "no",
        timestamp="yes" if timestamp_key(seal.number) in keys else "no",
    )
