"""An empty page after others contradicts them, so it is no end by itself."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.answers import Page
from airflow_audit_provider.core.query import Ask
from airflow_audit_provider.core.reading import Reading, ReadShape
from airflow_audit_provider.core.records import ApiVersion, AuditRecord
from tests.core.model_server import ModelServer
from tests.core.walking import row, window


class SometimesEmpty(ModelServer):
    """Answers one ask with nothing, without a cursor."""

    empty_ask = 2

    def answer(self, ask: Ask) -> Page:
        page = super().answer(ask)
        return Page([]) if len(self.asks) == self.empty_ask else page


@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize("empty_ask", [2, 3, 4, 5])
def test_one_empty_page_on_the_way_loses_nothing(version: ApiVersion, empty_ask: int) -> None:
    """Whichever answer after the first comes empty once, all records come."""
    rows: list[AuditRecord] = [row(second) for second in range(50)]
    server = SometimesEmpty(rows, version)
    server.empty_ask = empty_ask
    reading, got = Reading(version, window(0, 60), shape=ReadShape(20, 100)), []
    while (ask := reading.ask()) is not None:
        got += reading.take(server.answer(ask))
    assert got == rows
