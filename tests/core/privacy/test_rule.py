"""The privacy rule: what it rejects, what it drops, and that id and event time stay."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import pytest

from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms
from airflow_audit_provider.core.privacy.rule import (
    AppliedPrivacy,
    PrivacyRule,
    check_no_personal_filters,
    privacy_entry,
    read_privacy,
)
from airflow_audit_provider.exceptions import ConfigurationError, SourceProtocolError
from tests.formats.odd_records import V1, V2, odd_records, records_of

KEY = b"0123456789abcdef0123456789abcdef"
RAW = b'{"id":"1","when":"2026-11-01T00:00:00Z","actor":{"email":"a@b.ch","ip":"192.0.2.1"},"n":1.10}'


def rule(key: bytes = KEY, **given: Any) -> PrivacyRule:
    """Returns the rule of an argument."""
    request = read_privacy({"conn_id": "c", **given})
    assert request is not None
    return PrivacyRule(request, key)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("email", "privacy is a str. Give a dict"),
        ({"conn": "c"}, "unknown entry 'conn'"),
        ({}, "privacy has no effect"),
        ({"conn_id": "c", "pseudonymise": []}, "privacy has no effect"),
        ({"pseudonymise": ["email"]}, "without a key"),
        ({"conn_id": "c", "pseudonymise": ["name"]}, "cannot pseudonymise 'name'. Give any of email, ip"),
        ({"conn_id": "c", "pseudonymise": "email"}, "Give a list of strings"),
        ({"drop": "metadata"}, "Give a list of strings"),
        ({"drop": [""]}, "Give a list of strings"),
        ({"drop": ["a..b"]}, "cannot drop 'a..b'"),
        ({"drop": ["id"]}, "needs its id and time"),
        ({"drop": ["when"]}, "needs its id and time"),
        ({"drop": ["action"]}, "needs its id and time"),
        ({"drop": ["action.time"]}, "needs its id and time"),
    ],
)
def test_invalid_rule_is_an_error(given: Any, words: str) -> None:
    """A rule that cannot be applied, or that would remove a record's identity, is an error."""
    with pytest.raises(ConfigurationError, match=words):
        read_privacy(given)


def test_no_rule_is_none() -> None:
    """Without an argument there is no rule and no privacy entry."""
    assert read_privacy(None) is None
    assert not privacy_entry(None)


def test_a_key_replaces_both_kinds_by_default() -> None:
    """A connection alone pseudonymises both kinds."""
    assert rule().manifest_entry.pseudonymise == ("email", "ip")


def test_privacy_entry_does_not_depend_on_order() -> None:
    """The same kinds and fields in another order are the same rule."""
    one, other = rule(drop=["b", "a"], pseudonymise=["ip", "email"]), rule(drop=["a", "b", "a"])
    assert one.manifest_entry == other.manifest_entry == privacy_entry(one)
    assert one.manifest_entry == AppliedPrivacy("privacy", ("email", "ip"), ("a", "b"), one.manifest_entry.key_id)


def test_key_id_depends_on_the_key_and_does_not_show_it() -> None:
    """The key id differs between keys and does not contain the key."""
    assert rule().manifest_entry.key_id != rule(b"x" * 32).manifest_entry.key_id
    assert KEY.decode() not in repr(rule()) + repr(rule().manifest_entry)
    assert PrivacyRule(read_privacy({"drop": ["a"]})).manifest_entry.key_id is None  # type: ignore[arg-type]  # a rule that drops a field is never None


def test_short_key_is_an_error() -> None:
    """A key that is short enough to be guessed is an error that does not contain it."""
    with pytest.raises(ConfigurationError, match=r"has 31 bytes\. Give at least 32 random ones") as caught:
        rule(KEY[:31])
    assert KEY[:31].decode() not in str(caught.value)


@pytest.mark.parametrize("name", ["actor.email", "actor_email.not", "actor.ip", "actor_ip_address"])
def test_filter_by_a_pseudonymised_field_is_an_error(name: str) -> None:
    """Manifests contain filters in plain text, so a filter by a pseudonymised field is an error."""
    request = read_privacy({"conn_id": "c"})
    with pytest.raises(ConfigurationError, match="would be in plain text in every manifest"):
        check_no_personal_filters(request, ((name, "a@b.ch"),))
    check_no_personal_filters(request, (("action.type", "login"), ("actor_id", "1")))
    check_no_personal_filters(read_privacy({"drop": ["a", "actor.emails"]}), ((name, "a@b.ch"),))
    check_no_personal_filters(None, ((name, "a@b.ch"),))


@pytest.mark.parametrize(
    ("drop", "name"),
    [
        ("actor.email", "actor.email"),
        ("actor.email", "actor_email.not"),
        ("actor.ip_address", "actor_ip_address"),
        ("actor", "actor_token_name"),
        ("raw.uri", "raw_uri"),
        ("metadata", "zone.name"),
        ("metadata.zone_name", "zone.name"),
        ("zone", "zone_name.not"),
        ("resource.product", "product_category"),
    ],
)
def test_filter_by_a_dropped_field_is_an_error(drop: str, name: str) -> None:
    """A filter by a dropped field is an error, with or without a key."""
    for given in ({"drop": [drop]}, {"conn_id": "c", "drop": [drop]}):
        with pytest.raises(ConfigurationError, match=f"The filter {name} would be in plain text in every manifest"):
            check_no_personal_filters(read_privacy(given), ((name, "x"),))


@pytest.mark.parametrize(
    "value",
    [
        *("bob@x.com", "/m/bob%40x.com", "/m?e=bob%2540x.com", "192.0.2.1", "/ip%3D192.0.2.1:8", "ip:2001:db8::1"),
        *("2001%3Adb8%3A%3A1", "2001:db8::1."),
    ],
)
def test_filter_with_an_address_as_value_is_an_error(value: str) -> None:
    """An address in any filter is an error if such addresses are pseudonymised."""
    with pytest.raises(ConfigurationError, match="would be in plain text in every manifest"):
        check_no_personal_filters(read_privacy({"conn_id": "c"}), (("raw_uri", value),))
    check_no_personal_filters(
        read_privacy({"conn_id": "c", "pseudonymise": ["ip" if "bob" in value else "email"]}), (("raw_uri", value),)
    )


@pytest.mark.parametrize(
    "value", ["/accounts/0123456789abcdef0123456789abcdef/rules", "1.2.3", "12:30:00", "@scope/name"]
)
def test_filter_without_an_address_is_accepted(value: str) -> None:
    """Ids, versions and times are no addresses."""
    check_no_personal_filters(read_privacy({"conn_id": "c", "drop": ["metadata"]}), (("raw_uri", value),))


@pytest.mark.parametrize(
    ("drop", "given", "left"),
    [
        (["a"], b'{%s,"a":{"b":1},"n":1.10}', b'{%s,"n":1.10}'),
        (["a.b"], b'{%s,"a":{"b":1,"c":1.10}}', b'{%s,"a":{"c":1.10}}'),
        (["a.b", "a"], b'{%s,"a":{"b":1,"c":2}}', b"{%s}"),
        (["a.b"], b'{%s,"a":[{"b":1,"c":2},3,[{"b":1}]]}', b'{%s,"a":[{"c":2},3,[{}]]}'),
        (["a.b"], b'{%s,"a":"text"}', b'{%s,"a":"text"}'),
        (["a.b"], b'{%s , "x":1}', b'{%s , "x":1}'),
        (["a"], b'{%s,"a":1,"\\u0061":2}', b"{%s}"),
        (["a"], b'{%s,"a":1,"t":"\\ud83d \\\\ud83d \\ud83d\\ude00"}', b'{%s,"t":"\\ud83d \\\\ud83d \\ud83d\\ude00"}'),
        (["a"], b'{%s,"a":1,"\xff":2}', b'{%s,"\xef\xbf\xbd":2}'),
    ],
)
def test_dropped_field_is_removed_and_the_rest_stays(drop: list[str], given: bytes, left: bytes) -> None:
    """A field is dropped in objects and in every element of lists; other values keep their text."""
    head = b'"id":"1","when":"2026-11-01T00:00:00Z"'
    only_dropped = PrivacyRule(read_privacy({"drop": drop}))  # type: ignore[arg-type]  # a rule that drops a field is never None
    (record,) = only_dropped.apply(V1, records_of(V1, given.replace(b"%s", head)))
    assert record.raw == left.replace(b"%s", head)


@pytest.mark.parametrize("version", [V1, V2])
def test_id_and_event_time_stay(version: Any) -> None:
    """However odd a record is, its id and event time stay, and are read back from the written text."""
    records = odd_records(version)[1:]
    reported = rule(drop=["metadata", "resource.scope"]).apply(version, records)
    assert sorted((record.event_ns, record.id) for record in reported) == sorted(
        (one.event_ns, one.id) for one in records
    )
    assert records_of(version, *(record.raw for record in reported)) == reported


def test_missing_id_is_the_digest_of_the_written_text() -> None:
    """The id is the digest of the written text, so that readers of the part find the same one."""
    (record,) = rule().apply(V1, records_of(V1, RAW.replace(b'"id":"1",', b"")))
    assert record.id.startswith("sha256:")
    assert records_of(V1, record.raw) == [record]


def test_records_without_an_id_stay_different() -> None:
    """Two records that differ only in a dropped value stay two, with the same ids each time, and hide the value."""
    raws = [b'{"when":"2026-11-01T00:00:00Z","actor":{"email":"%s@b.ch"},"n":1.10}' % name for name in (b"ann", b"bob")]
    dropping = rule(drop=["actor.email"])
    reported = dropping.apply(V1, records_of(V1, *raws))
    assert len({record.id for record in reported}) == 2
    assert reported == dropping.apply(V1, records_of(V1, *raws[::-1]))
    assert records_of(V1, *(record.raw for record in reported)) == reported
    for record in reported:
        assert re.fullmatch(
            rb'\{"when":"2026-11-01T00:00:00Z","actor":\{\},"n":1.10,"privacy_origin":"hmac:[0-9a-f]{32}"\}', record.raw
        )
    assert rule(b"x" * 32, drop=["actor.email"]).apply(V1, records_of(V1, *raws)) != reported


def test_text_before_the_origin_stays() -> None:
    """White space of the original stays, because the id is the digest of the text."""
    raw = b'{"when":"2026-11-01T00:00:00Z","actor":{"email":"a@b.ch"}  } '
    (record,) = rule().apply(V1, records_of(V1, raw))
    assert re.fullmatch(rb'\{"when":.*"\}  ,"privacy_origin":"hmac:[0-9a-f]{32}"\}', record.raw)


@pytest.mark.parametrize("name", [rb"\ue0000069d", rb"\uE0000069d", rb"\ue000x"])
def test_name_with_an_escaped_private_character_stays(name: bytes) -> None:
    """Beside half a surrogate pair, an escape never becomes another one, nor a name that of another field."""
    raw = b'{"id":"real","when":"2026-11-01T00:00:00Z","actor":1,"s":"\\ud800","%s":"forged"}' % name
    (record,) = rule(drop=["actor"]).apply(V1, records_of(V1, raw))
    assert record.id == "real"
    assert json.loads(record.raw) == {key: value for key, value in json.loads(raw).items() if key != "actor"}


@pytest.mark.parametrize("written", ["\\u%04x", "%c"], ids=["escaped", "raw"])
def test_record_with_all_private_characters_is_written(written: str) -> None:
    """An author who uses every such character of the first plane cannot hold a window up."""
    text = "".join(written % code for code in range(0xE000, 0xF900)).encode()
    raw = b'{"id":"1","when":"2026-11-01T00:00:00Z","actor":1,"s":"\\ud800%s"}' % text
    (record,) = rule(drop=["actor"]).apply(V1, records_of(V1, raw))
    assert json.loads(record.raw) == {key: value for key, value in json.loads(raw).items() if key != "actor"}


@pytest.mark.parametrize("email", ["id", "When", "ACTION", "time"])
def test_actor_named_like_a_field_keeps_the_fields_name(email: str) -> None:
    """A name that carries the id or the time is never replaced, although other names can be."""
    raw = b'{"id":"real","when":"2026-11-01T00:00:00Z","actor":{"email":"%s","ip":"%s"}}' % (2 * (email.encode(),))
    (record,) = rule().apply(V1, records_of(V1, raw))
    assert (record.id, json.loads(record.raw)["when"]) == ("real", "2026-11-01T00:00:00Z")


@pytest.mark.parametrize("raw", [b'{"actor":{"email":"a@b.ch"}}', b' { "actor" : {} } '])
def test_record_of_which_nothing_is_left_is_still_json(raw: bytes) -> None:
    """If every field is dropped, only the digest of the original is written."""
    (record,) = rule(drop=["actor"]).apply(V1, records_of(V1, raw))
    assert re.fullmatch(rb'\{"privacy_origin":"hmac:[0-9a-f]{32}"\}', record.raw)


def test_record_without_an_id_and_a_key_is_an_error_if_a_field_is_dropped() -> None:
    """Without a key two such records could not be kept apart, and one would be lost."""
    only_dropped = PrivacyRule(read_privacy({"drop": ["n"], "name": "mine"}))  # type: ignore[arg-type]  # a rule that drops a field is never None
    with pytest.raises(SourceProtocolError, match="the privacy rule 'mine' drops data that"):
        only_dropped.apply(V1, records_of(V1, RAW.replace(b'"id":"1",', b"")))
    whole = records_of(V1, b'{"when":"2026-11-01T00:00:00Z"}')
    assert only_dropped.apply(V1, whole) == whole


def test_records_with_the_rule_applied_are_sorted() -> None:
    """Records are sorted by their new ids."""
    raws = [RAW.replace(b'"id":"1",', b"").replace(b"1.10", b"%d" % number) for number in range(9)]
    reported = rule().apply(V1, records_of(V1, *raws))
    assert reported == sorted(reported)


def test_record_to_which_the_rule_cannot_be_applied_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is not written, and the error contains only its id."""

    def fail(self: Pseudonyms, raw: bytes) -> bytes:
        raise ValueError(raw)

    monkeypatch.setattr(Pseudonyms, "in_record", fail)
    with pytest.raises(SourceProtocolError, match="cannot be applied to the record '1'") as caught:
        rule().apply(V1, records_of(V1, RAW))
    assert "a@b.ch" not in str(caught.value)
    assert caught.value.__cause__ is None
    pickle.loads(pickle.dumps(caught.value))
