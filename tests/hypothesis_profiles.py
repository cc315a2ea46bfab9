"""Hypothesis profiles: how many examples a property is tried on, by the hour it runs at.

`quick` (the default, and `make quick`) tries a quarter of the examples a test names, `ci` (`make test`) all of them,
`nightly` ten times as many. No profile has a deadline: an example's time depends on what else the machine does.
"""

from __future__ import annotations

from hypothesis import settings

FACTORS = {"quick": 0.25, "ci": 1.0, "nightly": 10.0}


def register() -> None:
    """Registers the profiles and loads `quick`; the option `--hypothesis-profile` loads another one later."""
    for name, factor in FACTORS.items():
        settings.register_profile(name, max_examples=_scaled(100, factor), deadline=None, print_blob=True)
    settings.load_profile("quick")


def examples(count: int) -> settings:
    """Returns the settings of a property that CI tries on so many examples."""
    return settings(max_examples=_scaled(count, FACTORS[settings.get_current_profile_name()]))


def places(count: int, step: int, first: int = 0) -> range:
    """Returns the places below a count that a test of all of them tries: every one at night, otherwise each `step`th.

    Choose a step that divides no period of what is tried, so that no kind of place is always left out.
    """
    return range(count) if settings.get_current_profile_name() == "nightly" else range(first, count, step)


def _scaled(count: int, factor: float) -> int:
    return max(5, round(count * factor))
