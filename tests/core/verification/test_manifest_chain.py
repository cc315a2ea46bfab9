"""Manifest chains: any bytes under a manifest key give findings, never an error."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.core.verification.findings import Severity
from airflow_audit_provider.core.verification.manifest_chain import Chain, StoredManifest, read_chain
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.core.verification.manifests import KEYS, SHA, WINDOW, addendum, manifest, part, replacement, stored


def kinds(chain: Chain) -> list[str]:
    """Returns the kinds of all findings, in order."""
    return [str(found.kind) for found in chain.findings]


FIRST = manifest()
SECOND = addendum(FIRST, "a")
THIRD = addendum(SECOND, "b", "c")
EMPTY = manifest(parts=(), record_count=0, added_count=0)
TABLE = manifest(table=TableSchema("normalized", "1.0"))
PRIVACY = AppliedPrivacy("privacy", ("email",), (), "ab")
PRIVATE = manifest(privacy=PRIVACY)


@pytest.mark.parametrize(
    "manifests",
    [
        (FIRST,),
        (EMPTY,),
        (FIRST, SECOND),
        (THIRD, FIRST, SECOND),
        (FIRST, replacement(FIRST, 2)),
        (FIRST, SECOND, replacement(SECOND, 3)),
        (FIRST, SECOND, replacement(SECOND, 5), addendum(replacement(SECOND, 5), "z")),
        (EMPTY, addendum(EMPTY, "x")),
        (TABLE, addendum(TABLE, "a", table=TableSchema("normalized", "1.0", {"actor_ip": 1}))),
        (PRIVATE, addendum(PRIVATE, "a", privacy=PRIVACY)),
        (FIRST, replacement(FIRST, 2, privacy=PRIVACY, file_format="csv", table=TableSchema("normalized", "1.0"))),
        (EMPTY, replacement(EMPTY, 1)),
        (manifest(partition_date=date(2026, 11, 1), verified="recount"),),
    ],
)
def test_chain_of_the_pipeline_has_no_findings(manifests: tuple[Manifest, ...]) -> None:
    """Chains of addenda, replacements and empty windows have no findings, in whatever order they are read."""
    chain = read_chain(stored(*manifests))
    assert chain.findings == ()
    assert [one.manifest.generation for one in chain.generations] == list(range(1, len(manifests) + 1))


def test_generation_of_a_part_is_read_from_its_key() -> None:
    """The parts of an addendum are divided into added and kept ones."""
    newest = read_chain(stored(FIRST, SECOND)).generations[-1]
    assert (newest.added_parts, newest.kept_parts) == ((part(2, 1),), (part(1),))
    assert newest.added_by(part(1)) == 1
    assert newest.added_by(msgspec.structs.replace(part(1), key="elsewhere")) is None


FOREIGN_PART = msgspec.structs.replace(part(1), key="dt=2026-11-02/part-0001-00000-abababababababab.jsonl")
OTHER_QUERY = audit_query("v1", None, account_id="1" * 32)
OTHER_DIGEST = msgspec.structs.replace(part(1), sha256="cd" * 32)


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        ((manifest(record_count=3),), ["manifest_counts"]),
        ((manifest(added_count=1),), ["manifest_counts"]),
        ((manifest(parts=(part(1), part(1)), record_count=4, added_count=4),), ["manifest_counts"]),
        ((manifest(parts=(part(2),), added_count=0),), ["manifest_misplaced"]),
        ((manifest(parts=(FOREIGN_PART,), added_count=0),), ["manifest_misplaced"]),
        ((manifest(parts=(OTHER_DIGEST,), added_count=0),), ["manifest_misplaced"]),
        ((msgspec.structs.replace(EMPTY, partition_date=date(2026, 11, 3)),), ["manifest_misplaced"]),
        ((manifest(previous_sha256=SHA),), ["generation_unchained"]),
        ((manifest(added_ids=("a", "b")),), ["added_ids"]),
        ((FIRST, addendum(FIRST, "a", previous_sha256=SHA)), ["generation_unchained"]),
        ((FIRST, addendum(FIRST, "a", previous_sha256=None)), ["generation_unchained"]),
        ((FIRST, addendum(FIRST, "a", added_ids=())), ["added_ids"]),
        ((FIRST, addendum(FIRST, "a", added_ids=("a", "b"))), ["added_ids"]),
        ((FIRST, replacement(FIRST, 2, added_ids=("a",))), ["added_ids"]),
        ((FIRST, replacement(FIRST, 1)), ["parts_not_kept"]),
        ((FIRST, SECOND, addendum(SECOND, "b", parts=(part(1), part(3, 1)), record_count=3)), ["parts_not_kept"]),
        ((FIRST, SECOND, addendum(SECOND, "b", parts=(part(2, 1), part(1), part(3, 1)))), ["parts_not_kept"]),
        ((FIRST, addendum(FIRST, "a", query=OTHER_QUERY)), ["generation_other_dataset"]),
        ((FIRST, addendum(FIRST, "a", file_format="csv")), ["generation_other_form"]),
        ((FIRST, addendum(FIRST, "a", compression="gzip")), ["generation_other_form"]),
        ((FIRST, addendum(FIRST, "a", table=TableSchema("ocsf", "1.0"))), ["generation_other_form"]),
        ((TABLE, addendum(TABLE, "a", table=TableSchema("normalized", "1.1"))), ["generation_other_form"]),
        ((FIRST, addendum(FIRST, "a", privacy=PRIVACY)), ["generation_other_form"]),
        ((PRIVATE, addendum(PRIVATE, "a")), ["generation_other_form"]),
        ((SECOND,), ["generation_missing"]),
        ((FIRST, THIRD), ["generation_missing"]),
        ((THIRD,), ["generation_missing"]),
    ],
)  # fmt: skip
def test_each_inconsistency_is_a_finding(manifests: tuple[Manifest, ...], expected: list[str]) -> None:
    """A manifest that contradicts itself or its predecessor gives a severe finding of its kind with a remedy."""
    chain = read_chain(stored(*manifests))
    assert kinds(chain) == expected
    assert all(found.detail.endswith(".") and found.severity is Severity.SEVERE for found in chain.findings)


@pytest.mark.parametrize("content", [b"{", FIRST.to_bytes().replace(b'"manifest_version":1', b'"manifest_version":9')])
def test_manifest_that_cannot_be_read_is_a_finding_with_one_remedy(content: bytes) -> None:
    """The finding has the remedy of the error: a copy of a damaged manifest, an upgrade for a newer one, never both."""
    (found,) = read_chain([StoredManifest(stored(FIRST)[0].key, content)]).findings
    assert found.detail.count("Restore it from a copy") + found.detail.count("Upgrade") == 1


def test_many_missing_generations_are_one_finding() -> None:
    """A key with a huge generation gives one finding, not one for each missing generation."""
    far = manifest(generation=1_000_000_000, parts=(), record_count=0, added_count=0)
    chain = read_chain(stored(FIRST, far))
    assert kinds(chain) == ["generation_missing"]
    assert "from 2 to 999999999" in chain.findings[0].detail


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "generation_missing"),
        (b"", "manifest_unreadable"),
        (b"[" * 100_000, "manifest_unreadable"),
        (FIRST.to_bytes().replace(b"{", b'{"deep": ' + b"[" * 50_000 + b"]" * 50_000 + b",", 1), "manifest_unreadable"),
        (FIRST.to_bytes() + b" ", "manifest_not_canonical"),
        (FIRST.to_bytes().replace(b"{", b'{"more": 1,', 1), "manifest_not_canonical"),
        (manifest(generation=2).to_bytes(), "manifest_misplaced"),
        (manifest(window=TimeWindow(WINDOW.start, WINDOW.end + timedelta(1))).to_bytes(), "manifest_misplaced"),
        (manifest(manifest_version=2).to_bytes(), "manifest_unreadable"),
    ],
)
def test_invalid_content_is_a_finding(content: bytes | None, expected: str) -> None:
    """Content that is no manifest, or another window's, is one finding with its key."""
    chain = read_chain([StoredManifest(KEYS.manifest(1), content)])
    assert kinds(chain) == [expected]
    assert chain.findings[0].key == KEYS.manifest(1)


@pytest.mark.integration
@given(st.binary(max_size=200), st.integers(0, len(SECOND.to_bytes())), st.integers(0, 50))
def test_random_content_raises_nothing(noise: bytes, place: int, cut: int) -> None:
    """A manifest with random bytes inserted and removed gives findings or a generation, never an error."""
    content = SECOND.to_bytes()
    spliced = content[:place] + noise + content[place + cut :]
    chain = read_chain([*stored(FIRST), StoredManifest(KEYS.manifest(2), spliced)])
    assert [one.manifest for one in chain.generations][:1] == [FIRST]
    assert len(chain.generations) == 2 or chain.findings != ()


def test_other_key_is_an_error_of_the_caller() -> None:
    """A key that is not a manifest's raises ValueError."""
    with pytest.raises(ValueError, match="not the key of a manifest"):
        read_chain([StoredManifest("_manifests/notes.json", b"")])
