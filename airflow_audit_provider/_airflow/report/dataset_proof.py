"""What proves a dataset: its seals with signatures and time stamps, and the records of verifications; pure."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from airflow_audit_provider._airflow.coverage_page.views import NONE, Fact, instant_text
from airflow_audit_provider._airflow.report.document import Row, Section, bounded
from airflow_audit_provider.core.archive.object_keys import seal_key, signature_key
from airflow_audit_provider.core.verification.findings import FindingKind
from airflow_audit_provider.core.verification.pass_records import PassRecord
from airflow_audit_provider.core.verification.seal_content import Seal
from airflow_audit_provider.core.windows.window import count_of, format_instant
from airflow_audit_provider.pipelines.report import MOST_PASSES, DatasetEvidence
from airflow_audit_provider.pipelines.verify import TrustAnchors

_WRONG_SIGNATURE = FindingKind.SIGNATURE_INVALID
_MOST_HOLES = 3
_NO_RECORD = "The destination holds no record of a verification that passed."
_NO_NAME = (
    "A record states when a verification passed and what it covered. It does not state whether signatures and time "
    "stamps were checked, nor who ran the verification: the access log of the store shows that."
)


def proof_sentences(evidence: DatasetEvidence) -> Iterator[str]:
    """Yields what proves the dataset, in words."""
    windows, chain = len(evidence.overview.windows), evidence.chain
    if not chain.seals:
        yield "No day is sealed: nothing but access rights protects the files from later changes."
    else:
        state = "has findings" if chain.findings else "is whole: each seal holds the digest of the one before it"
        yield f"The chain of {count_of(len(chain.seals), 'seal')} {state}."
        yield f"A seal names the newest generation of {windows - evidence.unsealed_count:,} of {windows:,} windows."
    verified = evidence.overview.verified
    if verified.last_passed_at is None:
        yield _NO_RECORD
    else:
        yield (
            f"Records of verifications name the newest generation of {verified.verified_count:,} of {windows:,} "
            f"windows; the last verification passed at {format_instant(verified.last_passed_at)}. Whether a file was "
            "changed since then is not checked here."
        )
    recounted = sum(one.is_recounted for one in evidence.overview.windows)
    yield f"{recounted:,} of {windows:,} windows were read a second time before their commit, and both readings agreed."


def unchecked_anchors(anchors: TrustAnchors) -> Iterator[str]:
    """Yields what was not checked about the seals, and which option adds it."""
    if anchors.verifier is None:
        yield "Signatures of seals were not checked, because no public key was given (--public-key)."
    if anchors.timestamps is None:
        yield "Time stamps of seals were not checked, because no certificate was given (--tsa-certificate)."
    if anchors.expected_seal_sha256 is None:
        yield (
            "Whether the newest seals were removed was not checked, because no digest of a seal that was kept "
            "elsewhere was given (--expect-seal)."
        )


def seals_section(evidence: DatasetEvidence) -> Section:
    """Returns the chain of seals, the newest first."""
    chain = evidence.chain
    if not chain.seals:
        return Section("Seals", ("No day is sealed.",))
    proved = {one.number: one for one in evidence.times}
    wrong = {one.key for one in evidence.findings if one.kind is _WRONG_SIGNATURE}
    rows = [
        Row(
            (
                str(seal.number),
                str(seal.day),
                instant_text(seal.sealed_at or None, "not stated"),
                f"{len(seal.manifests):,}",
                _signature_text(evidence, seal, wrong),
                instant_text(proved[seal.number].timestamped_at, _stamp_text(evidence, seal)),
                sha256(chain.contents[seal.number]).hexdigest(),
            )
        )
        for seal in reversed(chain.seals)
    ]
    columns = ("Number", "Day", "Sealed, as stated", "Manifests", "Signature", "Time stamp", "SHA-256")
    table = bounded("Seals, the newest first", columns, rows, (0, 3), noun="earlier seal")
    facts = (
        Fact("Seals", f"{len(chain.seals):,}"),
        Fact("Signed", f"{sum(chain.signature(one.number) is not None for one in chain.seals):,}"),
        Fact("With a time stamp", f"{sum(chain.timestamp(one.number) is not None for one in chain.seals):,}"),
        Fact("Windows that no seal names", f"{evidence.unsealed_count:,}"),
    )
    return Section("Seals, the newest first", facts=facts, tables=(table,))


def _signature_text(evidence: DatasetEvidence, seal: Seal, wrong: set[str]) -> str:
    if evidence.chain.signature(seal.number) is None:
        return "none"
    if signature_key(seal.number) in wrong or seal_key(seal.number) in wrong:
        return "NOT valid"
    return "valid" if evidence.has_key else "there, not checked"


def _stamp_text(evidence: DatasetEvidence, seal: Seal) -> str:
    """Returns what stands for the time of a seal without a time stamp that was found valid."""
    if evidence.chain.timestamp(seal.number) is None:
        return "none"
    return "NOT valid" if evidence.has_certificate else "there, not checked"


def passes_section(evidence: DatasetEvidence) -> Section:
    """Returns the records of verifications that passed, the newest first."""
    heading = "Verifications that passed"
    damaged = evidence.damaged_pass_count
    sentences = [f"{count_of(damaged, 'record')} of verifications cannot be read."] if damaged else []
    if not evidence.passes:
        return Section(heading, (_NO_RECORD, *sentences))
    rows = [Row((*_pass_cells(one),)) for one in evidence.passes]
    columns = ("Passed", "From", "To", "Without a verified window between", "Windows", "Records", "Newest seal then")
    table = bounded(heading, columns, rows, (4, 5), noun="earlier verification")
    if len(rows) + damaged >= MOST_PASSES:
        sentences.append(f"These are the newest {MOST_PASSES}; the folder _verified has the earlier ones.")
    return Section(heading, (_NO_NAME, *sentences), tables=(table,))


def _holes_text(record: PassRecord) -> str:
    """Returns which times between the first and the last window a verification did not cover."""
    found, end = [], None
    for one in sorted(record.ranges, key=lambda each: each.start):
        if end is not None and one.start > end:
            found.append(f"{format_instant(end)} to {format_instant(one.start)}")
        end = one.end if end is None else max(end, one.end)
    more = f", {len(found) - _MOST_HOLES:,} more" if len(found) > _MOST_HOLES else ""
    return f"{', '.join(found[:_MOST_HOLES])}{more}" or NONE


def _pass_cells(record: PassRecord) -> Iterator[str]:
    yield format_instant(record.verified_at)
    yield instant_text(min((one.start for one in record.ranges), default=None))
    yield instant_text(max((one.end for one in record.ranges), default=None))
    yield _holes_text(record)
    yield f"{record.window_count:,}"
    yield f"{record.record_count:,}"
    yield record.newest_seal_sha256 or "none"
