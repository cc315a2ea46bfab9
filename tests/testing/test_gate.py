"""Tests of requests that are refused before any record is read, and of the headers of every response."""

from __future__ import annotations

import pytest

from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN
from tests.testing.fake_requests import BEARER, DAYS, V1, V2, envelope_of, fake_with, get

VERIFY = "/client/v4/user/tokens/verify"


@pytest.mark.parametrize("missing", ["since", "before"])
def test_version_2_without_bound_is_refused(missing: str) -> None:
    """Returns 400 with a message and no code without since or before."""
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
def test_parameter_out_of_range_is_refused(path: str, params: dict[str, str]) -> None:
    """Returns a 400 that names the parameter."""
    refused = get(fake_with(), path, **{**DAYS["v2"], **params})
    assert refused.status == 400
    assert next(iter(params)) in envelope_of(refused)["errors"][0]["message"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_method_other_than_get_is_refused(method: str) -> None:
    """Returns 405."""
    refused = fake_with().answer(method, V1, [], BEARER)
    assert (refused.status, refused.headers["allow"]) == (405, "GET")


def test_missing_or_wrong_credential_is_refused() -> None:
    """Refuses a missing credential, and a wrong key beside a valid token."""
    assert get(fake_with(), V1, headers={}).status == 401
    both = {**BEARER, "x-auth-email": "owner@example.com", "x-auth-key": "wrong"}
    refused = get(fake_with(), V1, headers=both)
    assert (refused.status, envelope_of(refused)["errors"][0]["code"]) == (403, 9103)


def test_malformed_authorization_is_refused_with_error_chain() -> None:
    """Returns code 6003 with 6111 below it."""
    problem = envelope_of(get(fake_with(), V1, headers={"authorization": "Basic abc"}))["errors"][0]
    assert (problem["code"], problem["error_chain"][0]["code"]) == (6003, 6111)


@pytest.mark.parametrize("path", ["/", "/client/v4", "/client/v4/zones", f"/accounts/{ACCOUNT_ID}/audit_logs"])
def test_unknown_path_is_refused(path: str) -> None:
    """Returns 404 with code 7003."""
    refused = get(fake_with(), path)
    assert (refused.status, envelope_of(refused)["errors"][0]["code"]) == (404, 7003)


def test_every_response_has_ray_id_date_and_rate_limit() -> None:
    """Every response has its own ray id, the date, and the rate limit."""
    fake = fake_with()
    answers = [get(fake, V1), get(fake, V1, headers={}), get(fake, "/client/v4/nowhere")]
    assert [answer.headers["ratelimit"] for answer in answers] == [f'"default";r={n};t=300' for n in (1199, 1198, 1197)]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=1200;w=300'}
    assert len({answer.headers["cf-ray"] for answer in answers}) == 3
    assert {answer.headers["date"] for answer in answers} == {"Mon, 02 Nov 2026 12:00:00 GMT"}


def test_rate_limit_blocks_everything_for_five_minutes() -> None:
    """Returns 429 for every request after the limit until the block ends."""
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
    """Blocks no requests spread over several windows, and none without a limit."""
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


def test_block_seconds_sets_length_of_the_block() -> None:
    """Blocks for the configured time."""
    clock = ManualClock()
    fake = fake_with(clock=clock, requests_per_window=1, block_seconds=2)
    assert [get(fake, VERIFY).status for _ in range(2)] == [200, 429]
    clock.sleep(2)
    assert get(fake, VERIFY).status == 200


def test_log_holds_no_secret() -> None:
    """Logs names of header fields without values; no response has a credential."""
    fake = fake_with()
    answers = [get(fake, V1, page=2), get(fake, VERIFY), get(fake, V1, headers={"authorization": f"Bearer {TOKEN}x"})]
    first = fake.requests[0]
    assert (first.method, first.path, first.params) == ("GET", V1, (("page", "2"),))
    assert (first.status, first.header_names) == (200, ("authorization",))
    assert TOKEN not in repr(fake.requests)
    assert not any(TOKEN.encode() in answer.body for answer in answers)
