"""Records are pseudonymised as if every text were searched, and only texts with a sign of an address are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.privacy import pseudonyms as pseudonyms_module
from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms
from airflow_audit_provider.testing.records import Feed, generate
from tests.function_calls import count_calls
from tests.hypothesis_profiles import examples

KEY = b"k" * 32
RULES = {
    "both": Pseudonyms(KEY, emails=True, addresses=True),
    "e-mail": Pseudonyms(KEY, emails=True, addresses=False),
    "IP": Pseudonyms(KEY, emails=False, addresses=True),
}
_FEEDS = [Feed("v1", f"accounts/{'0' * 32}"), Feed("v2", f"accounts/{'0' * 32}")]


def _in_record_before(pseudonyms: Pseudonyms, raw: bytes) -> bytes:
    """Returns what the first implementation returned: every string literal is decoded and searched."""
    known = pseudonyms._known(raw)
    with mock.patch.object(pseudonyms_module, "_NEXT_HINT", pseudonyms_module._NEXT_LITERAL):
        text = pseudonyms._in_json(raw.decode("utf-8", "surrogateescape"), known, 0)
    return text.encode("utf-8", "surrogateescape")


def _outcome(action: Callable[[], bytes]) -> bytes | type[Exception]:
    """Returns a record's new bytes, or the kind of error for which the rule refuses the record."""
    try:
        return action()
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        return type(error)


def _escaped(text: str) -> str:
    """Returns a text with every character as JSON escape, which a JSON string contains as it is."""
    return "".join(f"\\u{ord(character):04x}" for character in text)


EMAILS = ["alice@example.com", "Bob@X.org", "Root", "", "jos\u00e9@x.org", "\u212a@k.org", "192.0.2.1", 'q"@x.org']
ADDRESSES = [
    *("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:201", "2001:db8::17", "2001:DB8:0:0::17", "2001:db8:fff::1"),
    *("ff:fe::1", "::17", "fe80::1%eth0", "unknown", "", " 192.0.2.1 ", "1:2:3:4:5:6:1.2.3.4", "x@y.zz"),
]
PIECES = [
    *(
        "@",
        "%40",
        "%2e",
        "%252E",
        "%",
        ".",
        ":",
        "::",
        "/",
        "[",
        "{",
        '"',
        "\\",
        " ",
        "\n",
        "\u00e9",
        "\ud800",
        "hmac:",
    ),
    *(
        "f",
        "ffff",
        "FFFF:",
        "%ff",
        "0",
        "1",
        "17",
        "2001:",
        "db8",
        "fff:",
        "c000:201",
        "u0040",
        "\\u0040",
        "x.org",
        "a",
    ),
]
WRITINGS: list[Callable[[str], str]] = [
    *(str, str.upper, str.lower, lambda text: f" {text} ", lambda text: quote(text, errors="replace")),
    lambda text: quote(quote(text, errors="replace")).lower(),
    lambda text: json.dumps({"in": [text], text: None}),
    lambda text: json.dumps([json.dumps(text)]),
]
ADDRESSES_SPELLED = st.builds(
    lambda write, text: write(text), st.sampled_from(WRITINGS), st.sampled_from(EMAILS + ADDRESSES)
)
TEXTS = st.lists(st.sampled_from(PIECES) | ADDRESSES_SPELLED, max_size=5).map("".join)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Returns a record of any actor with any texts, in which some texts have other escapes than they need."""
    actor: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "email": st.sampled_from(EMAILS) | st.none(),
                "ip": st.sampled_from(ADDRESSES) | st.just(17),
                "ip_address": st.sampled_from(ADDRESSES),
            },
        )
    )
    texts = draw(st.lists(TEXTS, max_size=4))
    fields = {"actor": actor, "notes": texts, "json": json.dumps(texts), **dict.fromkeys(texts[:1])}
    raw = json.dumps(fields, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    for character in draw(st.lists(st.sampled_from("@%.:f2501u4e3"), max_size=3)):
        # In the value of a plain text alone, which has no escape that this could cut.
        raw = raw.replace(f"{character}", _escaped(character)) if "\\" not in raw else raw
    return raw.encode("utf-8", "surrogatepass")


@examples(400)
@given(records(), st.sampled_from(sorted(RULES)))
def test_any_record_has_the_bytes_that_a_search_of_every_text_gives(raw: bytes, kind: str) -> None:
    """Texts without a sign have no address, however addresses are written."""
    assert RULES[kind].in_record(raw) == _in_record_before(RULES[kind], raw)


BROKEN = [
    *(r'{"actor"\u003a {"email"\u003a "alice@example.com"}, "notes"\u003a [], "json"\u003a "[]"}',),
    *(r'\u007b"actor":{"email":"alice@example.com"}}', r'{"a":"b"\u002c"actor":{"email":"alice@example.com"}}'),
    *(r'{"a":\"b","c":"alice@example.com"}', r'{"a":"b\","c":"alice@example.com"}', '"alice@example.com'),
    *("{'a':'alice@example.com','b':\"alice@example.com\"}", '{"a":alice@example.com,"b":"alice@example.com"}'),
    *('{"a":NaN,"b":"alice@example.com"}', '{"a":"b"alice@example.com"c"}', r'{"a":"\u"alice@example.com","b":1}'),
    *(r'{"a":"\x","b":"alice@example.com"}', '{"a":"alice@example.com"} "bob@example.org"', "alice@example.com"),
    '{"a":"\ud800","b":"\\ud800alice@example.com"}',
]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("kind", sorted(RULES))
def test_text_that_is_no_json_has_the_bytes_that_a_search_of_every_text_gives(text: str, kind: str) -> None:
    """Every literal is searched, because a quote says nothing about where one is; or the record is refused alike."""
    raw, rule = text.encode("utf-8", "surrogatepass"), RULES[kind]
    assert _outcome(lambda: rule.in_record(raw)) == _outcome(lambda: _in_record_before(rule, raw))


@examples(400)
@given(records(), st.lists(st.tuples(st.integers(0, 400), st.sampled_from(PIECES), st.booleans()), min_size=1))
def test_any_broken_record_has_the_bytes_that_a_search_of_every_text_gives(
    raw: bytes, changes: list[tuple[int, str, bool]]
) -> None:
    """Whatever is inserted, overwritten or escaped anywhere in a record, the same addresses are replaced."""
    for place, piece, is_escaped in changes:
        written = (_escaped(piece) if is_escaped else piece).encode("utf-8", "surrogatepass")
        raw = raw[:place] + written + raw[place + is_escaped :]
    rule = RULES["both"]
    assert _outcome(lambda: rule.in_record(raw)) == _outcome(lambda: _in_record_before(rule, raw))


@pytest.mark.parametrize("feed", _FEEDS, ids=["v1", "v2"])
@pytest.mark.parametrize("kind", sorted(RULES))
def test_records_of_a_day_have_the_bytes_that_a_search_of_every_text_gives(feed: Feed, kind: str) -> None:
    """Records of every shape that the fake sends are the same as before."""
    raws = [row.raw for row in generate(7, feed, 20_000, 500, "0" * 32)]
    assert [RULES[kind].in_record(raw) for raw in raws] == [_in_record_before(RULES[kind], raw) for raw in raws]


@pytest.mark.parametrize(
    "note",
    [
        *("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:201", "0:0:0:0:0:ffff%3ac000%3A201", "192%2E0.2.1"),
        *("192%252e0%252E2.1", r"\u003192.0.2.1", r"192\u002e0.2.1", r"192\u00252e0.2.1", r"192%\u0032e0.2.1"),
        *(r"::fff\u0066:c000:201", r"::FFF\u0046:C000:201", r"::ffff\u003Ac000:201", r"::ffff\u00253ac000:201"),
        *(r"{\"a\":\"\\u0031\u00392.0.2.1\"}", r"{\"a\":\"\u005cu0031\\u00392.0.2.1\"}"),
        *("bob@example.org", "bob%40example.org", "bob%252540example.org", r"bob\u0040example.org"),
        *(
            r"bob\\u0040example.org",
            r"bob%\u00340example.org",
            r"bob\u005cu0040example.org",
            r"bob\\\u00750040example.org",
        ),
        *(r"{\"a\":\"bob\\u0040example.org\"}", r"[\"bob@example.org\"]", r"\\\"bob@example.org"),
    ],
)
def test_address_is_replaced_by_whatever_sign_it_has(note: str) -> None:
    """Each sign, plain or in an escape, is enough to find the address."""
    raw = f'{{"actor":{{"email":"alice@example.com","ip":"192.0.2.1"}},"before":"\\"","note":"{note}"}}'.encode()
    left = RULES["both"].in_record(raw)
    assert left == _in_record_before(RULES["both"], raw)
    assert b"hmac:" in left.partition(b'"note"')[2]


@pytest.mark.parametrize(
    ("address", "note"),
    [
        ("2001:db8::17", "2001:0DB8:0:0::17"),
        ("2001:db8::17", "2001%253adb8%253a%253a17"),
        ("2001:db8:fff::1", "2001:db8:0fff::1"),
        ("fff::1", "%fffff::1"),
        ("::17", "0:0::17"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ],
)
def test_ipv6_address_is_replaced_by_the_sign_of_its_group(address: str, note: str) -> None:
    """A group that every notation has is the sign; an address without such a group is searched for everywhere."""
    raw = json.dumps({"actor": {"ip": address}, "note": note}).encode()
    left = RULES["both"].in_record(raw)
    assert left == _in_record_before(RULES["both"], raw)
    assert b"hmac:" in left.partition(b'"note"')[2]


def test_only_texts_with_a_sign_are_decoded() -> None:
    """Times, URLs, host names and escaped quotes cost no call; the actor's own texts are replaced by a look-up."""
    usual = {
        "when": "2026-11-01T00:00:00Z",
        "uri": "https://example.com/a.json?b=c",
        "agent": 'Mozilla/5.0 "x"',
        "ip": "198.51.100.7",
    }
    record = {"actor": {"email": "alice@example.com", "ip": "192.0.2.1"}, "items": [usual] * 10}
    raw, longer = (json.dumps({**record, "more": [usual] * count}).encode() for count in (0, 100))
    pseudonyms = RULES["both"]
    assert pseudonyms.in_record(raw) == _in_record_before(pseudonyms, raw)
    calls = count_calls(lambda: pseudonyms.in_record(raw))
    assert calls["_in_literal"] == 0
    assert calls == count_calls(lambda: pseudonyms.in_record(longer))
    assert calls.total() <= 60
    with_others = raw.replace(b"198.51.100.7", b"bob@example.org")
    assert count_calls(lambda: pseudonyms.in_record(with_others))["_in_literal"] == 10
