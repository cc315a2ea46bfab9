"""Draws records whose documented fields have any values, among them actions and resources that nobody has listed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion
from tests.formats.odd_records import V1, V2, WHEN, raw_of

_TEXTS = [
    *("", "a", "user", "admin", "system", "Cloudflare", "account", "api_token", "oauth", "UI", "x@example.com"),
    *("Bad@x", "hmac:abc", "192.0.2.1", "fe80::1%eth0", "zone", "member", "account.member", "rec_add", "view", "o1"),
    *("API_key_created", "delete", "password", "login", "2FA_disabled", "token_create", "purge_cache", "SSO_LOGIN"),
    *("logpush", "update", "create", "?", "/a?b=c", "?q", "/x", "GET", "get", 'q"\\\n', "\u00e9", "null"),
    *(
        '{"enabled":false}',
        '{"roles":[{"name":"Super Admin"}],"email":"r@example.com"}',
        '{"token_tag":"t9","mfa":true}',
    ),
    *('{"mfa":true}', '{"token_name":"deploy","id":"t8"}', '{"settings":{"enforce_twofactor":false}}'),
    *('{"errors":[{"message":"no"}]}', '{"reason":"bad password"}', "success", "failure", "login"),
    *('{"a":\n1}', '{"user":{"id":"u9","email":"m@example.com"}}', '{"email":"k@example.com"}', "[]"),
]
_VALUES: list[Any] = [
    *(None, {}, [], "", "x", 5, True, {"k": "\u00e9"}, {"id": "q", "email": "z@y.org"}, {"zone_name": 7}),
    *(
        {"user": {"id": "u1", "email": "m@x.org"}},
        {"member": {"user": {"id": "7"}}},
        {"zone_name": "z", "zone_id": "i"},
    ),
]
_GROUPS = {
    V1: {
        "action": ("type", "info", "result"),
        "actor": ("id", "email", "ip", "type"),
        "owner": ("id",),
        "resource": ("id", "type"),
    },
    V2: {
        "action": ("type", "description", "result"),
        "account": ("id", "name"),
        "organization": ("id",),
        "actor": ("id", "email", "ip_address", "type", "context", "token_id", "token_name"),
        "zone": ("id", "name"),
        "raw": ("cf_ray_id", "method", "status_code", "uri", "user_agent"),
        "resource": ("id", "product", "type", "scope", "request", "response"),
    },
}
_FREE_FORM = {V1: ("interface", "metadata", "oldValue", "newValue", "oldValueJson", "newValueJson"), V2: ()}


# Names made of known and unknown words.
_made_up = st.lists(
    st.sampled_from(
        "api key token member user zone role 2FA two factor mfa login logout password enforce logpush firewall session "
        "create deleted update revoke enable disabled view lock unlock purge reset flurb \u00e9t\u00e9 X".split()
    ),
    min_size=1,
    max_size=4,
).map("_".join)


@st.composite
def raws(draw: st.DrawFn, version: ApiVersion) -> list[bytes]:
    """Returns records whose documented fields have any values."""
    values = st.sampled_from([*_TEXTS, None]) if draw(st.booleans()) else st.sampled_from([*_TEXTS, *_VALUES])
    values |= _made_up
    raws = []
    for number in range(draw(st.integers(1, 4))):
        fields: dict[str, Any] = {
            group: draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, values)))
            for group, names in _GROUPS[version].items()
        }
        fields |= draw(st.fixed_dictionaries({}, optional=dict.fromkeys(_FREE_FORM[version], values)))
        if version is V2:
            fields["action"]["time"] = WHEN
        raws.append(raw_of(version, f"id{number}", **fields))
    return raws
