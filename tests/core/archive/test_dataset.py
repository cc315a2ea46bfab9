"""Dataset descriptor: a function of any manifest of the dataset, and its differences in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.archive.dataset import check_one_dataset, dataset_of, read_dataset
from airflow_audit_provider.core.archive.manifest import TableSchema
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from tests.core.archive.manifests import manifest

PRIVACY = AppliedPrivacy("people", ("email",), ("metadata",), "0123456789abcdef")
GOLDEN = (
    b'{"dataset_version":1,"file_format":"jsonl","privacy":{"drop":["metadata"],'
    b'"key_id":"0123456789abcdef","name":"people","pseudonymise":["email"]},'
    b'"query":{"filters":[["actor_email","z\xc3\xbc@x"]],"scope":"organization","scope_id":"o","version":"v2"},'
    b'"schema":"normalized","schema_major":1}'
)


def test_descriptor_has_its_canonical_bytes() -> None:
    """The descriptor's bytes stay what they are, and are read back to an equal dataset."""
    dataset = dataset_of(manifest(table=TableSchema("normalized", "1.4"), privacy=PRIVACY))
    assert dataset.to_bytes() == GOLDEN
    assert read_dataset(GOLDEN) == dataset
    assert str(dataset) == (
        "API version v2, audit log organization o, filters actor_email=zü@x, file format jsonl, schema normalized 1, "
        "privacy rule people (pseudonymise email, drop metadata, key 0123456789abcdef)"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"compression": "gzip"}, {"compression": "zstd"}),
        ({"table": TableSchema("ocsf", "1.0")}, {"table": TableSchema("ocsf", "1.7", {"x": 1})}),
        ({"privacy": PRIVACY}, {"privacy": msgspec.structs.replace(PRIVACY, rule_version=99)}),
        ({"window_rule": "partition", "record_count": 1, "verified": "recount"}, {}),
    ],
)
def test_datasets_that_differ_in_what_may_change_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Compression, minor version, the rule's implementation and the window itself are no part of the dataset."""
    datasets = [dataset_of(manifest(**changes)) for changes in (one, other)]
    assert datasets[0].to_bytes() == datasets[1].to_bytes()
    check_one_dataset(datasets[0], datasets[1], "k")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query": audit_query("v2", None, organization_id="o")}, "filters actor_email=zü@x, not none"),
        (
            {"query": audit_query("v2", None, account_id="0" * 32, filters={"actor_email": "zü@x"})},
            f"audit log organization o, not account {'0' * 32}",
        ),
        ({"file_format": "csv"}, "file format jsonl, not csv"),
        ({"table": TableSchema("ocsf", "1.0")}, "schema raw, not ocsf 1"),
        ({"privacy": PRIVACY}, "privacy rule none, not people (pseudonymise email, drop metadata, key "),
    ],
)
def test_other_dataset_conflicts_with_the_difference_in_words(changes: dict[str, Any], words: str) -> None:
    """The error names each difference, the object that states the dataset, and the remedy."""
    with pytest.raises(CommitConflictError) as caught:
        check_one_dataset(dataset_of(manifest()), dataset_of(manifest(**changes)), "the-key")
    assert words in str(caught.value)
    assert "Use another destination" in str(caught.value)
    assert caught.value.key == "the-key"


@pytest.mark.parametrize("field", ["name", "pseudonymise", "drop", "key_id"])
def test_privacy_rules_that_differ_in_one_field_are_different_datasets(field: str) -> None:
    """Another key or rule would give one person two pseudonyms in one dataset."""
    other: Any = () if field in {"pseudonymise", "drop"} else "another"
    changed = msgspec.structs.replace(PRIVACY, **{field: other})
    one, two = dataset_of(manifest(privacy=PRIVACY)), dataset_of(manifest(privacy=changed))
    assert len(one.differences_from(two)) == 1
    assert len(one.differences_from(dataset_of(manifest(privacy=UNSET)))) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"{}", GOLDEN.replace(b'"v2"', b'"v9"'), b"[" * 100_000])
def test_damaged_descriptor_is_an_error(content: bytes) -> None:
    """Bytes that are no descriptor are named with the remedy."""
    with pytest.raises(VerificationError, match="cannot be decoded"):
        read_dataset(content)


@pytest.mark.parametrize("version", [b"0", b"2"])
def test_descriptor_of_another_version_is_an_error(version: bytes) -> None:
    """A descriptor of another version is not guessed at."""
    with pytest.raises(VerificationError, match="Upgrade"):
        read_dataset(GOLDEN.replace(b'"dataset_version":1', b'"dataset_version":' + version))
