"""The privacy rule: what it refuses, what it drops, and that id and event time survive it."""

from __future__ import annotations

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
    """Return the rule of an argument."""
    request = read_privacy({"conn_id": "c", **given})
    assert request is not None
    return PrivacyRule(request, key)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("email", "privacy is a str. Give a dict"),
        ({"conn": "c"}, "unknown entry 'conn'"),
        ({}, "privacy does nothing"),
        ({"conn_id": "c", "pseudonymise": []}, "privacy does nothing"),
        ({"pseudonymise": ["email"]}, "without a key"),
        ({"conn_id": "c", "pseudonymise": ["name"]}, "cannot pseudonymise 'name'. Give any of email, ip"),
        ({"conn_id": "c", "pseudonymise": "email"}, "Give a list of texts"),
        ({"drop": "metadata"}, "Give a list of texts"),
        ({"drop": [""]}, "Give a list of texts"),
        ({"drop": ["a..b"]}, "cannot drop 'a..b'"),
        ({"drop": ["id"]}, "needs its id and time"),
        ({"drop": ["when"]}, "needs its id and time"),
        ({"drop": ["action"]}, "needs its id and time"),
        ({"drop": ["action.time"]}, "needs its id and time"),
    ],
)
def test_an_impossible_rule_is_refused(given: Any, words: str) -> None:
    """What no run can apply, or what would take a record's identity, is named."""
    with pytest.raises(ConfigurationError, match=words):
        read_privacy(given)


def test_no_rule_is_none() -> None:
    """Without an argument there is no rule and no stamp."""
    assert read_privacy(None) is None
    assert not privacy_entry(None)


def test_a_key_replaces_both_kinds_by_default() -> None:
    """A connection alone asks for all there is."""
    assert rule().manifest_entry.pseudonymise == ("email", "ip")


def test_the_stamp_does_not_depend_on_order() -> None:
    """The same wishes are the same rule."""
    one, other = rule(drop=["b", "a"], pseudonymise=["ip", "email"]), rule(drop=["a", "b", "a"])
    assert one.manifest_entry == other.manifest_entry == privacy_entry(one)
    assert one.manifest_entry == AppliedPrivacy("privacy", ("email", "ip"), ("a", "b"), one.manifest_entry.key_id)


def test_another_key_has_another_id_and_no_text_shows_it() -> None:
    """The key's id tells keys apart and gives none away."""
    assert rule().manifest_entry.key_id != rule(b"x" * 32).manifest_entry.key_id
    assert KEY.decode() not in repr(rule()) + repr(rule().manifest_entry)
    assert PrivacyRule(read_privacy({"drop": ["a"]})).manifest_entry.key_id is None  # type: ignore[arg-type]  # not None


def test_a_short_key_is_refused() -> None:
    """A key that could be guessed is no key; the error does not repeat it."""
    with pytest.raises(ConfigurationError, match=r"has 31 bytes\. Give at least 32 random ones") as caught:
        rule(KEY[:31])
    assert KEY[:31].decode() not in str(caught.value)


@pytest.mark.parametrize("name", ["actor.email", "actor_email.not", "actor.ip", "actor_ip_address"])
def test_a_filter_by_what_is_replaced_is_refused(name: str) -> None:
    """Manifests hold filters in plain text."""
    request = read_privacy({"conn_id": "c"})
    with pytest.raises(ConfigurationError, match="would stand in every manifest"):
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
def test_a_filter_by_what_is_dropped_is_refused(drop: str, name: str) -> None:
    """It would bring back what the rule keeps out, with or without a key."""
    for given in ({"drop": [drop]}, {"conn_id": "c", "drop": [drop]}):
        with pytest.raises(ConfigurationError, match=f"The filter {name} would stand in every manifest"):
            check_no_personal_filters(read_privacy(given), ((name, "x"),))


@pytest.mark.parametrize(
    "value",
    [
        *("bob@x.com", "/m/bob%40x.com", "/m?e=bob%2540x.com", "192.0.2.1", "/ip%3D192.0.2.1:8", "ip:2001:db8::1"),
        *("2001%3Adb8%3A%3A1", "2001:db8::1."),
    ],
)
def test_a_filter_with_an_address_in_its_value_is_refused(value: str) -> None:
    """Whatever it filters by, and only when such addresses are replaced."""
    with pytest.raises(ConfigurationError, match="would stand in every manifest"):
        check_no_personal_filters(read_privacy({"conn_id": "c"}), (("raw_uri", value),))
    check_no_personal_filters(
        read_privacy({"conn_id": "c", "pseudonymise": ["ip" if "bob" in value else "email"]}), (("raw_uri", value),)
    )


@pytest.mark.parametrize(
    "value", ["/accounts/0123456789abcdef0123456789abcdef/rules", "1.2.3", "12:30:00", "@scope/name"]
)
def test_a_filter_without_an_address_is_taken(value: str) -> None:
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
def test_a_dropped_field_is_gone_and_the_rest_is_as_it_was(drop: list[str], given: bytes, left: bytes) -> None:
    """In objects and in every element of lists; numbers and escapes beside it keep their spelling."""
    head = b'"id":"1","when":"2026-11-01T00:00:00Z"'
    only_dropped = PrivacyRule(read_privacy({"drop": drop}))  # type: ignore[arg-type]  # not None
    (record,) = only_dropped.apply(V1, records_of(V1, given.replace(b"%s", head)))
    assert record.raw == left.replace(b"%s", head)


@pytest.mark.parametrize("version", [V1, V2])
def test_id_and_event_time_survive(version: Any) -> None:
    """However odd a record, it is the same one, and who reads what is written finds the same again."""
    records = odd_records(version)[1:]
    reported = rule(drop=["metadata", "resource.scope"]).apply(version, records)
    assert sorted((record.event_ns, record.id) for record in reported) == sorted(
        (one.event_ns, one.id) for one in records
    )
    assert records_of(version, *(record.raw for record in reported)) == reported


def test_a_record_without_an_id_is_known_by_what_is_written() -> None:
    """Its id is the digest of the text that lands, so that who reads it back finds the same."""
    (record,) = rule().apply(V1, records_of(V1, RAW.replace(b'"id":"1",', b"")))
    assert record.id.startswith("sha256:")
    assert records_of(V1, record.raw) == [record]


def test_records_without_an_id_stay_as_many_as_they_were() -> None:
    """Two that differ only in what is dropped are two, are the same two each time, and show nothing of it."""
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


def test_without_a_key_a_record_without_an_id_is_an_error_when_some_of_it_is_dropped() -> None:
    """Without a key nothing can tell it from another, and one of the two would be lost."""
    only_dropped = PrivacyRule(read_privacy({"drop": ["n"], "name": "mine"}))  # type: ignore[arg-type]  # not None
    with pytest.raises(SourceProtocolError, match="the privacy rule 'mine' drops a part of what"):
        only_dropped.apply(V1, records_of(V1, RAW.replace(b'"id":"1",', b"")))
    whole = records_of(V1, b'{"when":"2026-11-01T00:00:00Z"}')
    assert only_dropped.apply(V1, whole) == whole


def test_applied_records_are_in_order() -> None:
    """Ids made from other text sort otherwise; the order of what is written does not depend on it."""
    raws = [RAW.replace(b'"id":"1",', b"").replace(b"1.10", b"%d" % number) for number in range(9)]
    reported = rule().apply(V1, records_of(V1, *raws))
    assert reported == sorted(reported)


def test_a_record_that_cannot_be_told_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never written as it came, and the error holds nothing of it but its id."""

    def fail(self: Pseudonyms, raw: bytes) -> bytes:
        raise ValueError(raw)

    monkeypatch.setattr(Pseudonyms, "in_record", fail)
    with pytest.raises(SourceProtocolError, match="cannot be applied to the record '1'") as caught:
        rule().apply(V1, records_of(V1, RAW))
    assert "a@b.ch" not in str(caught.value)
    assert caught.value.__cause__ is None
    pickle.loads(pickle.dumps(caught.value))
