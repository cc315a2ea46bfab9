"""People, zones, addresses and phrases in generated records.

Invariant: nothing here identifies a real person or host.
"""

from __future__ import annotations

import hashlib

PEOPLE = (
    "alice", "bob", "carla.núñez", "dmitri", "eve", "françois", "grace", "heidi", "ivan", "judy",
    "mallory", "niaj", "olivia", "peggy", "rupert", "sybil", "trent", "ursula", "victor", "wendy",
)  # fmt: skip
ZONES = ("example.com", "example.net", "example.org", "shop.example.com", "bücher.example", "api.example.net")
ADDRESSES = ("192.0.2.1", "192.0.2.77", "198.51.100.23", "203.0.113.9", "203.0.113.200", "2001:db8::17")
AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "terraform-provider/5.12.0 (+https://example.com/automation) go/1.23",
    "curl/8.11.0",
)
NOTES = (
    "change 4711 approved",
    "überprüft – Zürich",
    "東京リージョンの切り替え",
    'quoted "twice" and a back\\slash',
    "rollback ✓",
    "line\nbreak\tand tab",
    "percent %s {braces} are literal",
    "",
)
RULES = (
    '(http.request.uri.path contains "/login" and ip.geoip.country ne "CH") or cf.threat_score gt 14',
    '(http.host eq "shop.example.com" and not cf.client.bot and http.request.method in {"POST" "PUT"})',
    '(ip.src in $office_ranges) or (http.user_agent contains "monitor" and ssl)',
)


def hex_id(*facts: object) -> str:
    """Returns 32 hexadecimal digits that depend only on ``facts``."""
    return hashlib.blake2b("|".join(map(str, facts)).encode(), digest_size=16).hexdigest()


def email_of(person: str) -> str:
    """Returns a person's e-mail address, in ASCII."""
    return person.encode("ascii", "ignore").decode() + "@example.com"
