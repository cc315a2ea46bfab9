"""Privacy rule: which parts of a record are pseudonymized or dropped before anything is written.

The rule is named in each manifest, with the id of its key and never the key.

Invariant: identity and event time of a record survive the rule. A record to which the rule cannot be applied is never
written as it came: what cannot be decoded is withheld, anything else raises an error.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.json_cuts import mask_surrogates, replace_surrogates
from airflow_audit_provider.core.api.records import (
    ApiVersion,
    AuditRecord,
    OddRecord,
    has_digest_id,
    has_odd,
    in_order,
    read_records,
)
from airflow_audit_provider.core.windows.window import count_of, format_ns
from airflow_audit_provider.exceptions import ConfigurationError, SourceProtocolError

# Increased when the same rule would make a different text of the same record.
RULE_VERSION = 2
KINDS = ("email", "ip")
# Field added to a record without an id.
ORIGIN = "privacy_origin"
# Field of what is written in place of a record whose content cannot be decoded.
WITHHELD = "privacy_withheld"
MIN_KEY_BYTES = 32
_ARGUMENTS = ("name", "conn_id", "pseudonymise", "drop")
# Fields from which identity and event time are read.
_KEPT = ("id", "when", "action.time")
# Filters whose name differs from the name of their field.
_ELSEWHERE = {"zone_name": "metadata_zone_name", "product_category": "resource_product"}
_Tree = dict[str, "_Tree"]


class AppliedPrivacy(msgspec.Struct, frozen=True):
    """The rule as a manifest states it: its name, what it replaces and drops, and the id of the key.

    ``key_id`` is derived from the key, so that another key has another id; None if nothing is pseudonymized.
    """

    name: str
    pseudonymise: tuple[str, ...]
    drop: tuple[str, ...]
    key_id: str | None
    rule_version: int = RULE_VERSION


MaybeAppliedPrivacy = AppliedPrivacy | UnsetType


class PrivacyRequest(msgspec.Struct, frozen=True):
    """Checked ``privacy`` argument: the rule without its key, and the connection that has the key."""

    name: str
    conn_id: str | None
    pseudonymise: tuple[str, ...]
    drop: tuple[str, ...]


def read_privacy(given: Any) -> PrivacyRequest | None:
    """Returns the checked argument, a dict of ``name conn_id pseudonymise drop``; None for None.

    With a ``conn_id`` both kinds are pseudonymised unless ``pseudonymise`` names one. The order of lists does not
    matter. Raises ``ConfigurationError`` for an invalid argument.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"privacy is a {type(given).__name__}. Give a dict of {', '.join(_ARGUMENTS)}.")
    unknown = [name for name in given if name not in _ARGUMENTS]
    if unknown:
        raise ConfigurationError(f"privacy has an unknown entry {unknown[0]!r}. Give {', '.join(_ARGUMENTS)}.")
    conn_id = given.get("conn_id") or None
    kinds = _texts("pseudonymise", given.get("pseudonymise", KINDS if conn_id else ()))
    drop = _texts("drop", given.get("drop", ()))
    _check_arguments(conn_id, kinds, drop)
    return PrivacyRequest(str(given.get("name") or "privacy"), conn_id, kinds, drop)


def _texts(name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(isinstance(one, str) and one for one in given):
        raise ConfigurationError(f"privacy[{name!r}] is {given!r}. Give a list of strings.")
    return tuple(sorted(set(given)))


def _check_arguments(conn_id: str | None, kinds: Sequence[str], drop: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigurationError(f"privacy cannot pseudonymise {kind!r}. Give any of {', '.join(KINDS)}.")
    if kinds and not conn_id:
        raise ConfigurationError(
            "privacy has pseudonymise without a key. Give it the conn_id of a connection with a key."
        )
    if not kinds and not drop:
        raise ConfigurationError("privacy has no effect. Give it a conn_id or paths to drop, or leave privacy out.")
    for path in drop:
        if not all(path.split(".")):
            raise ConfigurationError(f"privacy cannot drop {path!r}. Give names with dots between them.")
        if any(kept == path or kept.startswith(f"{path}.") for kept in _KEPT):
            raise ConfigurationError(
                f"privacy cannot drop {path!r}: a record needs its id and time. Drop another field."
            )


def check_no_personal_filters(
    rule: PrivacyRequest | MaybeAppliedPrivacy | None, filters: Sequence[tuple[str, str]]
) -> None:
    """Raises ``ConfigurationError`` for a filter by a hidden field, or with an address in its value.

    Manifests contain the filters in plain text. Any IP address counts, because it may be an actor's.
    """
    for name, value in filters:
        if rule and (_is_by_what_is_hidden(rule, name) or _holds_an_address(rule, value)):
            raise ConfigurationError(
                f"The filter {name} would be in plain text in every manifest, although privacy removes such data. "
                "Remove the filter, or change privacy."
            )


def _is_by_what_is_hidden(rule: PrivacyRequest | AppliedPrivacy, name: str) -> bool:
    plain = name.replace(".", "_")
    names = [plain, *(plain.replace(other, path, 1) for other, path in _ELSEWHERE.items() if plain.startswith(other))]
    hidden = [path.replace(".", "_") for path in rule.drop]
    is_dropped = any(f"{name}_".startswith(f"{path}_") for name in names for path in hidden)
    return is_dropped or any(plain.startswith(f"actor_{kind}") for kind in rule.pseudonymise)


def _holds_an_address(rule: PrivacyRequest | AppliedPrivacy, value: str) -> bool:
    # Imported here because few DAGs have a rule: without one, parsing a DAG does not load these modules.
    from airflow_audit_provider.core.privacy.ip_addresses import holds_address
    from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms

    if "email" in rule.pseudonymise and Pseudonyms(b"", emails=True, addresses=False).in_text(value) != value:
        return True
    return "ip" in rule.pseudonymise and holds_address(value)


class PrivacyRule:
    """A rule with its key; ``manifest_entry`` is the rule as manifests state it.

    Raises ``ConfigurationError`` for a key of less than 32 bytes.
    """

    def __init__(self, request: PrivacyRequest, key: bytes = b"") -> None:
        from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms

        if request.pseudonymise and len(key) < MIN_KEY_BYTES:
            raise ConfigurationError(
                f"The key in connection {request.conn_id!r} has {count_of(len(key), 'byte')}. Give at least "
                f"{MIN_KEY_BYTES} random ones, for example by: openssl rand -hex 32."
            )
        key_id = hmac.digest(key, b"airflow-audit-provider key id", "sha256").hex()[:16]
        self.manifest_entry = AppliedPrivacy(
            request.name, request.pseudonymise, request.drop, key_id if request.pseudonymise else None
        )
        self._tree = _tree_of(request.drop)
        self._pseudonyms = Pseudonyms(
            key, emails="email" in request.pseudonymise, addresses="ip" in request.pseudonymise
        )

    def __repr__(self) -> str:
        return f"PrivacyRule({self.manifest_entry!r}, ***)"

    def apply(self, version: ApiVersion, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Returns the records with the rule applied, sorted.

        Each record is parsed again from its new text, as readers of the part will parse it. Event times and ids stay.
        The id of a record without one is a digest of its text. A keyed digest of the original text is added to such a
        record, so that two different records stay different. Raises ``SourceProtocolError`` for one if there is no key.
        """
        applied = read_records(version, [msgspec.Raw(self._apply_to(version, record)) for record in records])
        if has_odd(records):
            applied = [_like_original(*pair) for pair in zip(records, applied, strict=True)]
        return in_order(applied)

    def _apply_to(self, version: ApiVersion, record: AuditRecord) -> bytes:
        if isinstance(record, OddRecord) and not _is_object(record.raw):
            raw = _withheld(version, record)
            return self._with_origin(record, raw) if has_digest_id(record) else raw
        try:
            raw = self._pseudonyms.in_record(record.raw) if self.manifest_entry.pseudonymise else record.raw
            raw = _without(raw, self._tree) if self._tree else raw
        except (ValueError, RecursionError, TypeError, AttributeError) as error:
            raise SourceProtocolError(
                f"The privacy rule {self.manifest_entry.name!r} cannot be applied to the record {record.id!r} "
                f"({type(error).__name__}). Nothing of the window was written. Report it to the maintainers."
            ) from None
        return raw if raw == record.raw or not has_digest_id(record) else self._with_origin(record, raw)

    def _with_origin(self, record: AuditRecord, raw: bytes) -> bytes:
        """Returns a record's new text with a keyed digest of the original text.

        Two records that differ only in removed values stay different. Without a key, the removed values could be
        guessed by comparing digests.
        """
        if not self.manifest_entry.pseudonymise:
            raise SourceProtocolError(
                f"A record came without an id, and the privacy rule {self.manifest_entry.name!r} drops data that "
                "distinguishes it from other records. Nothing of the window was written. Give privacy a conn_id with a "
                "key, which keeps such records apart."
            )
        origin = b'"%s":"%s"}' % (ORIGIN.encode(), self._pseudonyms.of_record(record.raw).encode())
        fields = raw.rstrip()[:-1]
        # Every field may have been dropped.
        return fields + (origin if fields.strip() == b"{" else b"," + origin)


def privacy_entry(rule: PrivacyRule | None) -> MaybeAppliedPrivacy:
    """Returns the rule as a manifest states it, unset without a rule."""
    return UNSET if rule is None else rule.manifest_entry


def _is_object(raw: bytes) -> bool:
    """Returns whether a record's fields can be found in its text."""
    try:
        _OBJECT.decode(mask_surrogates(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _withheld(version: ApiVersion, record: OddRecord) -> bytes:
    """Returns what is written in place of a record in which nothing can be found and replaced: its id and time."""
    fields: dict[str, Any] = {} if has_digest_id(record) else {"id": record.id}
    if record.is_dated:
        when = format_ns(record.event_ns)
        fields |= {"when": when} if version is ApiVersion.V1 else {"action": {"time": when}}
    return msgspec.json.encode(fields | {WITHHELD: str(record.kind)})


def _like_original(original: AuditRecord, applied: AuditRecord) -> AuditRecord:
    """Returns a record with the rule applied as odd as it was before, at the time that it was given."""
    if not isinstance(original, OddRecord):
        return applied
    return OddRecord(original.event_ns, applied.id, applied.raw, original.kind)


def _tree_of(paths: Sequence[str]) -> _Tree:
    """Returns dotted paths as a tree; a leaf is empty. A dropped name includes everything below it."""
    tree: _Tree = {}
    for path in sorted(paths, key=lambda path: path.count("."), reverse=True):
        *groups, name = path.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = {}
    return tree


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
# Characters for private use (Unicode 23.5). A record has hardly one of them, but its author may have chosen thousands.
_MARK_CODES = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
_HEX_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")


def _without(raw: bytes, tree: _Tree) -> bytes:
    try:
        return _pruned(raw, tree)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # RFC 8259, section 8.2: half a surrogate pair is valid JSON, which strict decoders refuse; or invalid UTF-8.
        text = raw.decode("utf-8", "replace").encode()
        mark = _unused_mark(text)
        hidden = replace_surrogates(text, lambda digits: mark + digits)
        return _pruned(hidden, tree).replace(mark, b"\\u")


def _unused_mark(text: bytes) -> bytes:
    """Returns a character that the text has neither as itself nor as an escape: decoding a name resolves escapes."""
    used = {*map(ord, set(text.decode())), *(int(digits, 16) for digits in _HEX_ESCAPE.findall(text))}
    code = next((code for code in chain(*_MARK_CODES) if code not in used), None)
    if code is None:
        raise ValueError("the record has every character for private use")
    return chr(code).encode()


def _pruned(raw: bytes, tree: _Tree) -> bytes:
    """Returns JSON without the fields of a tree, in a list for each element; other values keep their text."""
    first = raw.lstrip()[:1]
    if first == b"[":
        return msgspec.json.encode([msgspec.Raw(_pruned(bytes(one), tree)) for one in _LIST.decode(raw)])
    if first != b"{":
        return raw
    fields = _OBJECT.decode(raw)
    if not tree.keys() & fields.keys():
        return raw
    kept = {
        name: msgspec.Raw(_pruned(bytes(value), tree[name])) if name in tree else value
        for name, value in fields.items()
        if tree.get(name) != {}
    }
    return msgspec.json.encode(kept)
