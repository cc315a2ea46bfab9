"""Questions that are refused before a record is looked at, and what every answer carries."""

from __future__ import annotations

import pytest

from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN
from tests.testing.fake_requests import BEARER, DAYS, V1, V2, envelope_of, fake_with, get

VERIFY = "/client/v4/user/tokens/verify"


@pytest.mark.parametrize("missing", ["since", "before"])
def test_version_2_needs_its_window(missing: str) -> None:
    """Without since or before version 2 answers 400 with a message and no code."""
    params = {name: text for name, text in DAYS["v2"].items() if name != missing}
    refused = get(fake_with(), V2, **params)
    assert refused.status == 400
    assert envelope_of(refused)["errors"] == [{"message": f"{missing} is required"}]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (V1, {"per_page": 0}),
        (V1, {"per_page": 1001}),
        (V1, {"page": 0}),
        (V1, {"page": "x"}),
        (V1, {"since": "yesterday"}),
        (V1, {"direction": "up"}),
        (V2, {"limit": 1001}),
        (V2, {"since": "2026-13-01"}),
    ],
)
def test_bad_parameters(path: str, params: dict[str, str]) -> None:
    """A parameter outside its bounds is a 400 that names it."""
    refused = get(fake_with(), path, **{**DAYS["v2"], **params})
    assert refused.status == 400
    assert next(iter(params)) in envelope_of(refused)["errors"][0]["message"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_only_get(method: str) -> None:
    """Any other method is a 405."""
    refused = fake_with().answer(method, V1, [], BEARER)
    assert (refused.status, refused.headers["allow"]) == (405, "GET")


def test_no_credential_and_both() -> None:
    """Nobody is let in without a credential, and a wrong key is not saved by a good token beside it."""
    assert get(fake_with(), V1, headers={}).status == 401
    both = {**BEARER, "x-auth-email": "owner@example.com", "x-auth-key": "wrong"}
    refused = get(fake_with(), V1, headers=both)
    assert (refused.status, envelope_of(refused)["errors"][0]["code"]) == (403, 9103)


def test_malformed_header_has_a_chain() -> None:
    """A header that is no bearer token is refused with 6003 and 6111 below it."""
    problem = envelope_of(get(fake_with(), V1, headers={"authorization": "Basic abc"}))["errors"][0]
    assert (problem["code"], problem["error_chain"][0]["code"]) == (6003, 6111)


@pytest.mark.parametrize("path", ["/", "/client/v4", "/client/v4/zones", f"/accounts/{ACCOUNT_ID}/audit_logs"])
def test_paths_that_lead_nowhere(path: str) -> None:
    """An unknown path is 404 with code 7003."""
    refused = get(fake_with(), path)
    assert (refused.status, envelope_of(refused)["errors"][0]["code"]) == (404, 7003)


def test_every_answer_is_marked() -> None:
    """Good or bad, an answer carries a ray id of its own, the date, and the rate limit's state and policy."""
    fake = fake_with()
    answers = [get(fake, V1), get(fake, V1, headers={}), get(fake, "/client/v4/nowhere")]
    assert [answer.headers["ratelimit"] for answer in answers] == [f'"default";r={n};t=300' for n in (1199, 1198, 1197)]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=1200;w=300'}
    assert len({answer.headers["cf-ray"] for answer in answers}) == 3
    assert {answer.headers["date"] for answer in answers} == {"Mon, 02 Nov 2026 12:00:00 GMT"}


def test_rate_limit_blocks_everything_for_five_minutes() -> None:
    """The request after the last allowed one is a 429, and so is all that follows until the block is over."""
    clock = ManualClock()
    fake = fake_with(clock=clock, requests_per_window=3)
    assert [get(fake, V1).status for _ in range(4)] == [200, 200, 200, 429]
    clock.advance(100)
    refused = get(fake, VERIFY)
    assert (refused.status, refused.headers["retry-after"]) == (429, "200")
    clock.advance(199)
    assert get(fake, V1).status == 429
    clock.advance(1)
    assert get(fake, V1).status == 200


def test_rate_limit_starts_again_with_each_window() -> None:
    """Requests spread over several windows are never blocked; without a limit none is, and no answer tells of one."""
    clock = ManualClock()
    fake = fake_with(clock=clock, requests_per_window=2, window_seconds=10)
    for _ in range(5):
        assert [get(fake, VERIFY).status for _ in range(2)] == [200, 200]
        clock.advance(10)
    unlimited = fake_with(requests_per_window=None)
    answers = [get(unlimited, VERIFY) for _ in range(1300)]
    assert {answer.status for answer in answers} == {200}
    assert not any(name.startswith("ratelimit") for name in answers[0].headers)
    assert {"ratelimit", "ratelimit-policy"} <= set(get(fake, VERIFY).headers)


def test_block_can_be_shorter() -> None:
    """The block lasts as long as it is set to."""
    clock = ManualClock()
    fake = fake_with(clock=clock, requests_per_window=1, block_seconds=2)
    assert [get(fake, VERIFY).status for _ in range(2)] == [200, 429]
    clock.sleep(2)
    assert get(fake, VERIFY).status == 200


def test_log_holds_no_secret() -> None:
    """The log keeps the names of header fields without their values, and no answer echoes a credential."""
    fake = fake_with()
    answers = [get(fake, V1, page=2), get(fake, VERIFY), get(fake, V1, headers={"authorization": f"Bearer {TOKEN}x"})]
    first = fake.requests[0]
    assert (first.method, first.path, first.params) == ("GET", V1, (("page", "2"),))
    assert (first.status, first.header_names) == (200, ("authorization",))
    assert TOKEN not in repr(fake.requests)
    assert not any(TOKEN.encode() in answer.body for answer in answers)
