"""Tests that misbehaviours are parsed from text and apply under their conditions."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider.testing.misbehaviour import MEANINGS, Misbehaviour, Switch, parse_switch

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("text", "switch"),
    [
        ("slow", Switch(Misbehaviour.SLOW)),
        ("status=502", Switch(Misbehaviour.STATUS, 502)),
        ("tie_order=random,version=v2", Switch(Misbehaviour.TIE_ORDER, "random", version="v2")),
        ("html,every=3,first=9,after=2,share=0.5", Switch(Misbehaviour.HTML, None, 3, 9, 2, 0.5)),
    ],
)
def test_switch_is_parsed_from_text(text: str, switch: Switch) -> None:
    """The short form names the kind, its value and its conditions."""
    assert parse_switch(text) == switch


@pytest.mark.parametrize("text", ["nonsense", "slow=1,often=2", "slow,every=x", "slow,endpoint=other"])
def test_unknown_switch_is_rejected(text: str) -> None:
    """Rejects an unknown kind or condition."""
    with pytest.raises(ValueError, match=r"."):
        parse_switch(text)


def test_switch_applies_only_if_every_condition_holds() -> None:
    """Applies a switch only where each condition holds."""
    switch = parse_switch("status,every=2,first=8,after=2,version=v1")
    assert [number for number in range(1, 12) if switch.strikes(number, "v1", seed=1)] == [4, 6, 8]
    assert not any(switch.strikes(number, "v2", seed=1) for number in range(1, 12))


@pytest.mark.parametrize("kind", list(Misbehaviour))
def test_each_misbehaviour_has_meaning_and_test(kind: Misbehaviour) -> None:
    """Every misbehaviour has a meaning and a test of its effect."""
    assert MEANINGS[kind]
    others = [path.read_text() for path in HERE.glob("test_*.py") if path.name != Path(__file__).name]
    assert any(f'"{kind.value}' in text for text in others)
