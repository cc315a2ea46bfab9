"""Actions that public material names have the class and activity that was written down for them by hand."""

from __future__ import annotations

import re
from pathlib import Path

import cloudflare.resources
import pytest

from airflow_audit_provider.formats.ocsf.classes import ACCOUNT_CHANGE, API_ACTIVITY, OTHER, RELEASES
from airflow_audit_provider.formats.ocsf.meaning import Action, activity_of, hint_of, meaning_of
from airflow_audit_provider.formats.ocsf.words import sense_of_request
from tests.formats.ocsf.known_actions import Known, known_actions, products, sources

ACTIONS = known_actions()
_ACTIONS = {"post": "create", "put": "update", "patch": "update", "delete": "delete"}
_REQUEST = re.compile(r'self\._(post|put|patch|delete)\(\s*(?:path_template\(\s*)?f?"(/[^"]*)"')


@pytest.mark.parametrize("known", ACTIONS, ids=lambda known: f"{known.version}-{known.action}-{known.product}")
def test_known_action_is_mapped_as_expected(known: Known) -> None:
    """The mapping returns what a person expects of the action, and each action names its sources."""
    assert known.mapped == known.expected
    assert known.sources
    assert set(known.sources) <= set(sources())


def test_known_actions_have_a_specific_activity() -> None:
    """At least 95 of 100 known actions are neither unknown nor other."""
    assert sum(known.is_specific for known in ACTIONS) >= 0.95 * len(ACTIONS)


def test_every_known_product_has_the_activities_of_its_class() -> None:
    """A change of a product is a call with its own activity, unless the product is about people."""
    activities = {"create": "Create", "update": "Update", "delete": "Delete", "view": "Read"}
    for action, expected in activities.items():
        for product in products()["calls"]:
            meaning = meaning_of("ocsf", Action(action, "", product))
            assert meaning.event_class is API_ACTIVITY, product
            assert activity_of(API_ACTIVITY, meaning.sense, action)[1] == expected, product
    for product in products()["people"]:
        assert meaning_of("ocsf", Action("delete", "", product)).event_class is ACCOUNT_CHANGE


@pytest.mark.integration
def test_requests_of_cloudflares_sdk_have_a_specific_activity() -> None:
    """Each request that changes something has an activity, as a record of version 2 that the request would make."""
    folder = Path(next(iter(cloudflare.resources.__path__)))
    code = "".join(path.read_text(encoding="utf-8").split("class Async")[0] for path in sorted(folder.rglob("*.py")))
    requests = set(_REQUEST.findall(code))
    assert len(requests) > 1200
    for method, path in requests:
        names = [part for part in path.split("/") if part and "{" not in part]
        action = _ACTIONS[method]
        hint = hint_of(action, None, path)
        meaning = meaning_of("ocsf", Action(action, names[-1], names[0], hint))
        uid, _ = activity_of(meaning.event_class, meaning.sense, action)
        assert 0 < uid < OTHER, (method, path)


@pytest.mark.parametrize("schema", list(RELEASES))
def test_no_action_has_an_activity_that_its_release_lacks(schema: str) -> None:
    """Class and activity of each known action exist in each release of OCSF."""
    for known in ACTIONS:
        meaning = meaning_of(schema, Action(known.action, known.resource, known.product))
        uid, _ = activity_of(meaning.event_class, meaning.sense, known.action)
        assert meaning.event_class.uid in RELEASES[schema].classes
        assert (meaning.event_class.uid, uid) not in RELEASES[schema].lacks_activities


@pytest.mark.parametrize(
    "segment", ["block_senders", "content_list", "deployment-groups", "assets-upload-session", "members", "order", ""]
)
def test_end_of_a_path_that_is_a_thing_is_no_verb(segment: str) -> None:
    """A verb inside of the name of a thing says nothing about the request."""
    assert sense_of_request(segment) is None


LIKE_OTHERS = {
    ("change_login_method", "user", ""): "API Activity: Update",
    ("user_login_token_create", "account", ""): "API Activity: Create",
    ("create", "token_validation", "token_validation"): "API Activity: Create",
    ("create", "tokens", "stream"): "API Activity: Create",
    ("create", "turn_keys", "calls"): "API Activity: Create",
    ("create", "mfa_policy", "access"): "API Activity: Create",
    ("2FA_recovery_codes_generated", "user", ""): "API Activity: Create",
    ("view", "session", "login"): "API Activity: Read",
    ("create", "member", "load_balancer_pool"): "API Activity: Create",
}


@pytest.mark.parametrize(("texts", "expected"), LIKE_OTHERS.items(), ids=str)
def test_action_that_resembles_another_class_stays_api_activity(texts: tuple[str, str, str], expected: str) -> None:
    """A word of a sign-in, a token or a factor in the name of another thing does not move the event."""
    meaning = meaning_of("ocsf", Action(*texts))
    _, name = activity_of(meaning.event_class, meaning.sense, texts[0])
    assert f"{meaning.event_class.name}: {name}" == expected
