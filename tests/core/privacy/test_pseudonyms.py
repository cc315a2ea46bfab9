"""Pseudonyms: where addresses are found, that each address has one pseudonym, and that nothing else changes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.privacy import pseudonyms as pseudonyms_module
from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms
from tests.hypothesis_profiles import examples

BOTH = Pseudonyms(b"k" * 32, emails=True, addresses=True)
ALICE, BOB = BOTH.of_email("alice@example.com"), BOTH.of_email("bob@example.org")
IP4, IP6 = BOTH.of_address("192.0.2.1"), BOTH.of_address("2001:db8::17")


def test_no_pattern_has_a_possessive_group() -> None:
    """Possessive groups do not backtrack correctly before Python 3.11.5, so no pattern has one."""
    patterns = {name: found for name, found in vars(pseudonyms_module).items() if isinstance(found, re.Pattern)}
    assert len(patterns) > 5
    assert not [name for name, found in patterns.items() if re.search(r"\)[*+?]\+", found.pattern)]


def pseudonymized(raw: str | bytes, pseudonyms: Pseudonyms = BOTH) -> str:
    """Returns a record's JSON with the rule applied."""
    return pseudonyms.in_record(raw if isinstance(raw, bytes) else raw.encode()).decode("utf-8", "surrogateescape")


def pseudonymized_note(note: str, actor: dict[str, Any] | None = None) -> str:
    """Returns a text of a record of this actor, with the rule applied."""
    record = {"actor": {"email": "alice@example.com", "ip": "192.0.2.1"} if actor is None else actor, "note": note}
    return str(json.loads(pseudonymized(json.dumps(record)))["note"])


def test_a_pseudonym_is_readable_and_stable() -> None:
    """A pseudonym names its kind, has 128 bits, and depends only on the key, the kind and the address."""
    assert ALICE == "hmac:" + "a67c682bb7cb89ead3aa0e0423787ca5"
    assert Pseudonyms(b"l" * 32, emails=True, addresses=True).of_email("alice@example.com") != ALICE
    assert BOTH.of_address("alice@example.com") != ALICE


@pytest.mark.parametrize("spelling", ["alice@example.com", "Alice@Example.COM", " alice@example.com\n"])
def test_case_and_space_of_an_email_do_not_matter(spelling: str) -> None:
    """Spellings of one e-mail address have one pseudonym."""
    assert BOTH.of_email(spelling) == ALICE


@pytest.mark.parametrize("spelling", ["2001:db8::17", "2001:DB8:0:0:0:0:0:17", "2001:0db8::0017"])
def test_spellings_of_one_ip_address_have_one_pseudonym(spelling: str) -> None:
    """Spellings of one IP address have one pseudonym, and IPv4 in IPv6 is IPv4."""
    assert BOTH.of_address(spelling) == IP6
    assert BOTH.of_address("::ffff:192.0.2.1") == IP4


@pytest.mark.parametrize("actor", ['{"email":"alice@example.com","ip":"192.0.2.1"}', '{"ip_address":"192.0.2.1"}'])
def test_both_versions_have_one_pseudonym(actor: str) -> None:
    """Version 1 and version 2 have the address in different fields, with the same pseudonym."""
    text = pseudonymized(f'{{"id":"1","actor":{actor},"seen":"192.0.2.1 alice@example.com"}}')
    assert f'"seen":"{IP4} {ALICE}"' in text
    assert "192.0.2.1" not in text


@pytest.mark.parametrize(
    ("note", "left"),
    [
        ("by alice@example.com.", f"by {ALICE}."),
        ("<Alice@Example.com>,bob@example.org", f"<{ALICE}>,{BOB}"),
        ("mailto:bob@example.org", f"mailto:{BOB}"),
        ("/members?email=bob%40example.org&x=1", f"/members?email={BOB}&x=1"),
        ("email%3Dbob%40example.org", f"email%3D{BOB}"),
        ("a%2Bb%40x.org", BOTH.of_email("a+b@x.org")),
        ("'bob@example.org'", f"'{BOB}'"),
        ("carla.núñez@bücher.example", BOTH.of_email("carla.núñez@bücher.example")),
        ("x@xn--bcher-kva.example", BOTH.of_email("x@xn--bcher-kva.example")),
        ("bob@example.org-old", f"{BOB}-old"),
        ("bob@example.org alice@example.com bob@example.org", f"{BOB} {ALICE} {BOB}"),
        ("@bob@example.org", f"@{BOB}"),
        ("email%253Dbob%2540example.org", f"email%253D{BOB}"),
        ("bob%252540example.org", BOB),
        ("a%252Bb%2540x.org", BOTH.of_email("a+b@x.org")),
        ("carla.n%C3%BA%C3%B1ez%40b%C3%BCcher.example", BOTH.of_email("carla.núñez@bücher.example")),
        ("b%2Eb%40x%2Eorg", BOTH.of_email("b.b@x.org")),
        ("x" * 70 + "@example.org", BOTH.of_email("x" * 70 + "@example.org")),
    ],
)
def test_every_e_mail_address_is_replaced(note: str, left: str) -> None:
    """An e-mail address is replaced in any field, plain or URL-encoded."""
    assert pseudonymized_note(note) == left


@pytest.mark.parametrize(
    "note", ["pkg@1.2.3", "@scope/name", "a@b", "user@localhost", "@@@", "%40", "so@-what.example"]
)
def test_text_with_an_at_sign_alone_stays(note: str) -> None:
    """An at sign alone makes no address."""
    assert pseudonymized_note(note) == note


@pytest.mark.parametrize(
    ("note", "left"),
    [
        ("192.0.2.1", IP4),
        ("from 192.0.2.1.", f"from {IP4}."),
        ("192.0.2.1:443, 192.0.2.1/32", f"{IP4}:443, {IP4}/32"),
        ("192.0.2.17 1.192.0.2.1 192.0.2.1.9 192.0.2.100", "192.0.2.17 1.192.0.2.1 192.0.2.1.9 192.0.2.100"),
        ("198.51.100.1 is a record's content", "198.51.100.1 is a record's content"),
        ("::ffff:192.0.2.1", IP4),
        ("::FFFF:c000:201: denied", f"{IP4}: denied"),
        ("/rules?filter=ip%3D192.0.2.1", f"/rules?filter=ip%3D{IP4}"),
        ("%20192.0.2.1 %2520192.0.2.1 ip%3A192%2E0%2E2%2E1", f"%20{IP4} %2520{IP4} ip%3A{IP4}"),
        ("ip_192.0.2.1_, v192.0.2.1x", f"ip_{IP4}_, v{IP4}x"),
    ],
)
def test_only_the_actors_ip_address_is_replaced(note: str, left: str) -> None:
    """Other IP addresses are configuration, such as the content of a DNS record, and stay."""
    assert pseudonymized_note(note) == left


@pytest.mark.parametrize("note", ["[2001:db8::17]:443", "2001:DB8:0::17.", "seen 2001:db8::17, 2001:db8::18"])
def test_an_ipv6_address_is_found_in_any_spelling(note: str) -> None:
    """Addresses are compared by value, not by text."""
    left = pseudonymized_note(note, {"ip": "2001:db8::17"})
    assert IP6 in left
    assert "::17" not in left
    assert ("2001:db8::18" in note) == ("2001:db8::18" in left)


BEFORE = ["", "ip:", "from ", "ip=", "ip_", "[", "x", "%20", "%2520", "ip%3D", "ip%253A", "a@", "::ffff;", '"']
BEHIND = ["", ": denied", ":", ".", ", and", "]:443", "%20x", "%2C", "/32", "_x", "\n-", "@x", " 198.51.100.9", '"']
ESCAPES: list[Callable[[str], str]] = [
    lambda text: text,
    str.upper,
    quote,
    lambda text: quote(quote(text)),
    lambda text: quote(text).lower(),
]


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """Returns an IP address and one of the ways in which a text may spell it."""
    # "::" next to a colon is ambiguous, so it is left out.
    ends = st.integers(1, 2**32) | st.integers(1, 2**48 - 1).map(lambda high: high << 80)
    address = draw(st.ip_addresses(v=4) | st.builds(IPv6Address, st.integers(1, 2**128 - 1) | ends))
    if isinstance(address, IPv4Address):
        texts = [
            str(address),
            f"::ffff:{address}",
            f"0:0:0:0:0:ffff:{address}",
            IPv6Address(f"::ffff:{address}").exploded,
        ]
    else:
        last = IPv4Address(int(address) & 0xFFFF_FFFF)
        texts = [str(address), address.exploded, ":".join([*address.exploded.split(":")[:6], str(last)])]
    return str(address), draw(st.sampled_from(ESCAPES))(draw(st.sampled_from(texts)))


@pytest.mark.integration
@examples(150)
@given(spellings(), st.sampled_from(BEFORE), st.sampled_from(BEHIND))
def test_every_spelling_of_the_actors_address_is_replaced(spelled: tuple[str, str], before: str, behind: str) -> None:
    """A shortened, full, embedded or escaped address is replaced, whatever is next to it, and nothing more."""
    address, text = spelled
    assert pseudonymized_note(before + text + behind, {"ip": address}) == before + BOTH.of_address(address) + behind


@pytest.mark.parametrize("note", ["a2001:db8::17", "2001:db8::171", "2001:db8::1:7", "12001:db8::17", "2001:db8::17.1"])
def test_address_with_one_more_digit_stays(note: str) -> None:
    """Text that continues the address within its first or last group is another address and stays."""
    assert pseudonymized_note(note, {"ip": "2001:db8::17"}) == note


def test_address_with_a_zone_is_found() -> None:
    """An address with a zone is found without its zone."""
    assert pseudonymized_note("from fe80::1", {"ip": "fe80::1%eth0"}) == f"from {BOTH.of_address('fe80::1')}"


def test_actor_with_a_name_as_address_is_replaced() -> None:
    """A name in place of an address is replaced where it is a whole word, not inside other words."""
    text = pseudonymized('{"actor":{"email":"Root","ip":"unknown"},"a":"root","b":"the root of it","c":"unknown"}')
    fields = json.loads(text)
    assert fields["actor"] == {"email": BOTH.of_email("root"), "ip": BOTH.of_address("unknown")}
    assert (fields["a"], fields["b"], fields["c"]) == (
        BOTH.of_email("root"),
        "the root of it",
        BOTH.of_address("unknown"),
    )


@pytest.mark.parametrize(
    "text",
    [
        r'{"actor":{"email":"alice\u0040example.com"}}',
        r'{"newValue":"{\"email\":\"alice@example.com\"}"}',
        r'{"newValue":"{\"email\":\"alice\\u0040example.com\"}"}',
        r'{"newValue":"{\"deeper\":\"{\\\"email\\\":\\\"\\\\nalice\\\\u0040example.com\\\"}\"}"}',
        r'{"cut":"{\"email\":\"alice\\u0040example.com"}',
        r'{"alice@example.com":{"role":"admin"}}',
        r'{"note":"line\nalice@example.com\ttab"}',
        r'{"half":"\ud83d alice@example.com"}',
    ],
)
def test_address_in_escapes_or_in_json_text_is_replaced(text: str) -> None:
    """An address in an escape, in JSON inside text, or in a key is replaced, and the result is valid JSON."""
    left = pseudonymized(text)
    assert ALICE in left
    assert "example.com" not in left
    json.loads(left)


def test_bytes_that_are_no_utf8_stay() -> None:
    """An invalid byte stays, and the address next to it is replaced."""
    assert BOTH.in_record(b'{"x":"\xff alice@example.com"}') == b'{"x":"\xff ' + ALICE.encode() + b'"}'


UNTOUCHED = r'{ "id":"1", "n":1.10, "big":123456789012345678901234567890, "e":1e300, "t":"A\/\u00fc\"", "x":[ null ] }'


@pytest.mark.parametrize("actor", ["{}", "null", "17", '"system"', "[1]", '{"email":null,"ip":17}'])
def test_record_without_an_address_keeps_every_byte(actor: str) -> None:
    """Numbers, escapes and white space stay as they are written, whatever the actor is."""
    text = UNTOUCHED.replace("{ ", f'{{ "actor":{actor}, ', 1)
    assert pseudonymized(text) == text


def test_only_the_requested_kinds_are_replaced() -> None:
    """E-mail addresses and IP addresses are requested separately."""
    text = '{"actor":{"email":"alice@example.com","ip":"192.0.2.1"}}'
    assert pseudonymized(text, Pseudonyms(b"k" * 32, emails=True, addresses=False)) == text.replace(
        "alice@example.com", ALICE
    )
    assert pseudonymized(text, Pseudonyms(b"k" * 32, emails=False, addresses=True)) == text.replace("192.0.2.1", IP4)


@pytest.mark.integration
@examples(60)
@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4)), st.text()
)
def test_json_changes_only_in_its_addresses(value: Any, name: str) -> None:
    """JSON without an address has the same value afterwards; with one, only the address has changed."""
    plain = json.dumps({"value": value, name: [name, json.dumps(value)]})
    if "@" not in plain:
        assert pseudonymized(plain) == plain
    assert json.loads(pseudonymized(json.dumps({"note": [value, "alice@example.com"]})))["note"][1] == ALICE


PIECES = [*'@.:[" \\é', *("alice", "example", "com", "root", "%40", "%2e", "192.0.2.1", "2001:db8::17")]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@pytest.mark.integration
@examples(200)
@given(st.fixed_dictionaries({"email": TEXTS, "ip": TEXTS}), st.lists(TEXTS, max_size=4), st.booleans())
def test_skipped_texts_have_no_address(actor: dict[str, str], notes: list[str], is_ascii: bool) -> None:
    """The result is the same if every text is searched and not only those with a hint."""
    inside = {note: [note, {note.upper(): None}] for note in notes}
    record = json.dumps({"actor": actor, "a": notes, **inside, "json": json.dumps(inside)}, ensure_ascii=is_ascii)
    with mock.patch.object(pseudonyms_module, "_NEXT_HINT", pseudonyms_module._NEXT_LITERAL):
        wanted = pseudonymized(record)
    assert pseudonymized(record) == wanted


@pytest.mark.integration
@pytest.mark.parametrize(
    "filler",
    [
        *("x", "0123456789abcdef", "a@", "1.1.1.1.", ":1", "%40a.b", "\\\\", "25", "%25", "!%40a.bc%20", "%C3%40a.bc"),
        *("2001:db8:", "2001:db8:0:0:", "%3A", "::"),
    ],
)
def test_huge_record_takes_linear_time(filler: str) -> None:
    """A megabyte of text that nearly looks like an address takes a few seconds at most."""
    text = json.dumps(
        {"actor": {"email": "a@b.ch", "ip": "2001:db8::1"}, "f": "%" + filler * (1_000_000 // len(filler))}
    )
    began = time.process_time()
    BOTH.in_record(text.encode())
    assert time.process_time() - began < 5
