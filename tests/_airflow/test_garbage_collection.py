"""The garbage collector rests while a task imports, and is afterwards as it was before."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from airflow_audit_provider._airflow.garbage_collection import collector_paused


@pytest.fixture(autouse=True)
def _usual_collector() -> Iterator[None]:
    """Leaves the collector as these tests found it."""
    was_enabled, was_frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.enable()
    gc.unfreeze()
    yield
    (gc.freeze if was_frozen else gc.unfreeze)()
    (gc.enable if was_enabled else gc.disable)()


def test_collector_rests_until_it_is_resumed() -> None:
    """No collection looks through the objects that the imports create."""
    with collector_paused() as resume:
        assert not gc.isenabled()
        resume()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_collector_is_resumed_after_an_error() -> None:
    """Also if the error comes before the imports have ended."""
    with pytest.raises(ValueError, match="no module"), collector_paused():
        raise ValueError("no module")
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_collector_that_is_off_stays_off() -> None:
    """Somebody else has turned it off."""
    gc.disable()
    with collector_paused() as resume:
        resume()
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_collector_never_counts_what_the_executor_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of LocalExecutor has set aside 180,000 objects, and counting them takes 20 ms of each task."""
    counts: list[str] = []
    gc.freeze()
    monkeypatch.setattr(gc, "get_freeze_count", lambda: counts.append("frozen"))
    monkeypatch.setattr(gc, "get_objects", lambda *_: counts.append("tracked"))
    with collector_paused() as resume:
        resume()
    assert counts == []
