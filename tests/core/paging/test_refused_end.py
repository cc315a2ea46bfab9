"""A status 400 after the last page loses nothing that was read."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.query import PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.core.model_server import ModelServer

_BASE_SECONDS = 1_700_000_000
_WINDOW = TimeWindow(from_seconds(_BASE_SECONDS), from_seconds(_BASE_SECONDS + 60))


class PastEndIs400(ModelServer):
    """Model that returns status 400 for a page that starts after the last row."""

    def _offset(self, request: PageRequest, size: int) -> int:
        offset = super()._offset(request, size)
        if offset and offset >= len(self._selected(request)):
            raise SourceProtocolError("page out of range", status=400)
        return offset


@pytest.mark.parametrize("row_count", [1, 2, 5, 999])
def test_records_of_one_second_survive_a_refused_last_page(row_count: int) -> None:
    """Records of one second are read completely although the page that would prove the end is a status 400."""
    rows = [AuditRecord((_BASE_SECONDS + 5) * SECOND_NS, f"{number:04}", b"{}") for number in range(row_count)]
    server, reader, found = PastEndIs400(rows), WindowReader(ReadRequest(ApiVersion.V1, _WINDOW)), []
    while (request := reader.next_request()) is not None:
        try:
            found += reader.receive(server.respond(request))
        except SourceProtocolError as error:
            found += reader.receive_refusal(error)
    assert found == rows
    assert server.requests[-1].page > 1
