"""Bounds of a query: which event times ``since`` and ``before`` include.

Invariant: the result is one half-open range of nanoseconds, whichever bounds are inclusive.
"""

from __future__ import annotations

from airflow_audit_provider.testing.misbehaviour import Misbehaviour, Struck
from airflow_audit_provider.testing.query import Query

_GRAINS = {"second": 1_000_000_000, "ms": 1_000_000, "us": 1000}
_DEFAULT_GRAIN = {"v1": "second", "v2": "us"}
_DEFAULT_BEFORE = {"v1": "inclusive", "v2": "exclusive"}


def asked_range(query: Query, version: str, struck: Struck, kept: tuple[int, int]) -> tuple[int, int]:
    """Returns the half-open range that a query reads, clipped to the retention."""
    grain = _GRAINS[struck.word(Misbehaviour.GRAIN, _DEFAULT_GRAIN[version])]
    lower, upper = kept
    if query.since_ns is not None and Misbehaviour.IGNORED_SINCE not in struck:
        since = query.since_ns // grain * grain
        exclusive = struck.word(Misbehaviour.SINCE_EDGE, "inclusive") == "exclusive"
        lower = max(lower, since + grain if exclusive else since)
    if query.before_ns is not None and Misbehaviour.IGNORED_BEFORE not in struck:
        before = query.before_ns // grain * grain
        inclusive = struck.word(Misbehaviour.BEFORE_EDGE, _DEFAULT_BEFORE[version]) == "inclusive"
        upper = min(upper, before + grain if inclusive else before)
    return lower, upper
