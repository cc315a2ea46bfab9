"""Rows of an archive as the privacy rule of the dataset would have left them.

Invariant: a value that the rule changes is compared only with the key that the dataset was written with.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, read_records
from airflow_audit_provider.core.privacy.rule import MIN_KEY_BYTES, AppliedPrivacy, PrivacyRequest, PrivacyRule
from airflow_audit_provider.core.verification.reconcile.content import (
    ABSENT,
    archived_hashes,
    as_api_record,
    committed_hashes,
)


class HiddenContent(NamedTuple):
    """The privacy rule of a dataset; without its key, what the rule would change is not compared."""

    rule: PrivacyRule
    has_key: bool

    def archived_hashes(self, version: ApiVersion, fields: Mapping[str, Any]) -> bytes:
        """Returns one hash for each column of a Logpush row as the rule leaves it."""
        plain = array("q")
        plain.frombytes(archived_hashes(version, fields))
        record = as_api_record(version, fields)
        before, after = array("q"), array("q")
        read = read_records(version, [msgspec.Raw(msgspec.json.encode(record))])
        before.frombytes(committed_hashes(version, read[0]))
        after.frombytes(committed_hashes(version, self.rule.apply(version, read)[0]))
        triples = zip(plain, before, after, strict=False)
        if self.has_key:
            return array("q", [ABSENT if own == ABSENT else rest for own, _, rest in triples]).tobytes()
        return array("q", [own if had == rest else ABSENT for own, had, rest in triples]).tobytes()


def hidden_content(applied: AppliedPrivacy, rule: PrivacyRule | None) -> HiddenContent:
    """Returns the rule of a dataset: the given one if it is that rule with its key, otherwise one with another key."""
    if rule is not None and rule.manifest_entry == applied:
        return HiddenContent(rule, has_key=True)
    request = PrivacyRequest(applied.name, None, applied.pseudonymise, applied.drop)
    return HiddenContent(PrivacyRule(request, bytes(MIN_KEY_BYTES)), has_key=False)
