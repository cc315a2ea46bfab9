"""With verify="recount" a window is committed only when a second reading agrees."""

from __future__ import annotations

import json

import pytest

from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from tests.operators.worlds import World


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_agreeing_second_reading_is_in_the_manifest(world: World, version: str) -> None:
    """The manifest says that a recount agreed, and the records are the truth."""
    world.land(verify="recount", api_version=version)
    manifest = next(json.loads(content) for name, (content, _) in world.tree().items() if "_manifests" in name)
    assert manifest["verified"] == "recount"
    assert manifest["fetch"]["seen_count"] >= 2 * len(world.ids(version))
    assert world.lines() == world.raws(version)


def test_a_disagreeing_second_reading_lands_nothing(world: World) -> None:
    """A record that appears between the readings fails the task, and nothing is written."""
    world.misbehave("late_rows,after=1,first=2")
    with pytest.raises(Exception, match="disagree") as caught:
        world.land(verify="recount")
    assert isinstance(caught.value.__cause__, VerificationError)
    assert world.tree() == {}


@pytest.mark.parametrize("arguments", [{"verify": "twice"}, {"concurrency": 0}, {"max_part_bytes": -1}])
def test_what_cannot_be_is_said_when_the_dag_is_parsed(world: World, arguments: dict[str, object]) -> None:
    """An impossible number or word is refused by the constructor."""
    with pytest.raises(ConfigurationError, match="Give"):
        world.operator(**arguments)
