"""One odd record never blocks a log: whatever it is and wherever it lies, it lands whole and so does all else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.archive.manifest import describe
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.core.privacy.rule import PrivacyRequest, PrivacyRule
from airflow_audit_provider.exceptions import AuditProviderError, SourceProtocolError, SourceUnavailableError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.observer import PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import END, START, land, landed, objects, pull_spec
from tests.pipelines.pull.odd_log import OddLog, Row, odd_raws, ordinary

VERSIONS = ["v1", "v2"]
FORMATS = [
    ("jsonl", "raw"),
    ("csv", "raw"),
    ("parquet", "raw"),
    ("jsonl", "normalized"),
    ("csv", "normalized"),
    ("parquet", "normalized"),
    ("jsonl", "ocsf"),
    ("parquet", "ocsf"),
]
NOON = START + timedelta(hours=12)
KINDS = list(odd_raws("v1", NOON))
# Where the records lie: ordinary ones before and after the odd one, and how many rows a page has.
PLACES = {
    "amid ordinary records": (40, 40, 1000),
    "first of the window": (0, 40, 1000),
    "last of the window": (40, 0, 1000),
    "last of a page": (19, 40, 20),
    "first of a page": (20, 40, 20),
    "alone": (0, 0, 1000),
}


def _reader(log: OddLog) -> AuditLogReader:
    clock = ManualClock()
    return AuditLogReader(log, clock, RateLimiter(), RetryLimits(max_attempts=1))


def _land(spec: PullSpec, log: OddLog, store: LocalStore) -> PullOutcome:
    return land(spec, _reader(log), store)


def _log(version: str, kind: str, place: str = "amid ordinary records") -> OddLog:
    before, after, page_rows = PLACES[place]
    odd = Row(NOON, odd_raws(version, NOON)[kind])
    minute = timedelta(minutes=1)
    rows = ordinary(version, NOON - before * minute, before, minute)
    return OddLog(version, [*rows, odd, *ordinary(version, NOON + minute, after, minute)], page_rows)


def _kept(raw: bytes, file_format: str, schema: str) -> bytes:
    """Returns a record's bytes as a format keeps them: a line break in a string as its escape, text as UTF-8."""
    line = raw.replace(b"\r", b"\\r").replace(b"\n", b"\\n")
    return line if (file_format, schema) == ("jsonl", "raw") else line.decode("utf-8", "replace").encode()


def _log_of_all(version: str) -> OddLog:
    """Returns a log in which every kind comes once, at noon and in the seconds after it, among ordinary records."""
    second = timedelta(seconds=1)
    odd = [
        Row(NOON + number * second, odd_raws(version, NOON + number * second)[kind].replace(b'"odd"', b'"%d"' % number))
        for number, kind in enumerate(KINDS)
    ]
    return OddLog(version, [*odd, *ordinary(version, NOON - 20 * second, 80, second)], page_rows=17)


def _check_landed_whole(spec: PullSpec, log: OddLog, store: LocalStore) -> None:
    """Checks that each record landed once with its bytes, that verify agrees, and that a second run adds nothing."""
    outcome = _land(spec, log, store)
    file_format, schema = spec.part_format.file_format, spec.part_format.schema
    raws = sorted(record.raw for record in landed(spec, store))
    assert raws == sorted(_kept(row.raw, file_format, schema) for row in log.rows)
    assert outcome.manifest.record_count == len(log.rows)
    assert [found for found in verify(store).findings if found.severity == "severe"] == []
    again = _land(spec._replace(attempt_id="two"), log, store)
    assert (again.committed, again.missing_count) == (False, 0)


def _check_landed_in_its_window(log: OddLog, store: LocalStore, version: str) -> None:
    """Checks that the day has every record by two reads, and the days around it none."""
    assert _land(pull_spec(version, verify="recount"), log, store).manifest.record_count == len(log.rows)
    day = timedelta(days=1)
    for start in (START - day, END):
        beside = pull_spec(version, start=start, end=start + day, attempt_id=f"{start:%d}")
        assert _land(beside, log, store).manifest.record_count == 0


@pytest.mark.integration
@pytest.mark.parametrize(("file_format", "schema"), FORMATS)
@pytest.mark.parametrize("version", VERSIONS)
def test_odd_records_of_every_kind_land_whole_in_every_format(
    store: LocalStore, version: str, file_format: str, schema: str
) -> None:
    """All kinds in one window, on page borders too: each has its bytes, and nothing else is affected."""
    _check_landed_whole(pull_spec(version, file_format=file_format, schema=schema), _log_of_all(version), store)


@pytest.mark.integration
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["id float", "time null", "null", "too deep"])
def test_an_odd_record_lands_wherever_it_lies(store: LocalStore, kind: str, version: str, place: str) -> None:
    """First, last, on a page border or alone: it lands once, a recount agrees, and the days around have none of it."""
    _check_landed_in_its_window(_log(version, kind, place), store, version)


@pytest.mark.nightly
@pytest.mark.parametrize(("file_format", "schema"), FORMATS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_odd_record_lands_whole_in_every_format(
    store: LocalStore, kind: str, version: str, file_format: str, schema: str
) -> None:
    """One odd record amid ordinary ones, in every combination."""
    _check_landed_whole(pull_spec(version, file_format=file_format, schema=schema), _log(version, kind), store)


@pytest.mark.nightly
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_odd_record_lands_wherever_it_lies(store: LocalStore, kind: str, version: str, place: str) -> None:
    """Every kind at every place."""
    _check_landed_in_its_window(_log(version, kind, place), store, version)


@pytest.mark.integration
def test_odd_records_are_counted_by_kind(store: LocalStore) -> None:
    """The manifest, the outcome and the summary count them; a log without them has no such field."""
    outcome = _land(pull_spec(), _log_of_all("v1"), store)
    counts = {"id": 5, "not_an_object": 4, "not_json": 8, "time": 11, "too_deep": 1}
    assert outcome.manifest.odd_records == outcome.odd_records == counts
    assert describe(outcome.manifest)["odd_record_count"] == 29
    assert len(outcome.odd_examples) == 5
    plain = OddLog("v1", ordinary("v1", NOON + timedelta(days=1), 3, timedelta(minutes=1)))
    without = _land(pull_spec(start=END, end=END + timedelta(days=1), attempt_id="plain"), plain, store)
    assert b"odd_records" not in without.manifest.to_bytes()


@pytest.mark.integration
@pytest.mark.parametrize("version", VERSIONS)
def test_a_late_odd_record_is_added_and_counted_once(store: LocalStore, version: str) -> None:
    """Counts add up over generations, an undated record is known again wherever it is shown, and verify agrees."""
    log = _log(version, "time null")
    _land(pull_spec(version), log, store)
    log.rows += [
        Row(NOON + timedelta(seconds=30), odd_raws(version, NOON)["null"]),
        *ordinary(version, NOON - timedelta(seconds=30), 1, timedelta(seconds=1)),
        *ordinary(version, NOON + timedelta(hours=3), 1, timedelta(seconds=1)),
    ]
    log.rows.sort(key=lambda row: row.at)
    late = _land(pull_spec(version, attempt_id="two"), log, store)
    assert (late.manifest.added_count, late.odd_records) == (3, {"not_an_object": 1})
    assert late.manifest.odd_records == {"not_an_object": 1, "time": 1}
    assert [found for found in verify(store).findings if found.severity == "severe"] == []
    again = _land(pull_spec(version, attempt_id="three"), log, store)
    assert (again.committed, again.missing_count) == (False, 0)
    replaced = _land(pull_spec(version, attempt_id="four", replace=True), log, store)
    assert replaced.manifest.odd_records == {"not_an_object": 1, "time": 1}


@pytest.mark.integration
@pytest.mark.parametrize("version", VERSIONS)
def test_slices_read_in_parallel_deliver_an_undated_record_once(store: LocalStore, version: str) -> None:
    """A quiet hour of undated records between busy ones, at any concurrency: each lands once."""
    minute = timedelta(minutes=1)
    busy = ordinary(version, START, 4000, timedelta(seconds=5))
    busy += ordinary(version, START + timedelta(hours=8), 4000, timedelta(seconds=5))
    undated = [Row(START + timedelta(hours=6) + number * minute, b'{"number":%d}' % number) for number in range(100)]
    log = OddLog(version, [*busy, *undated], page_rows=500)
    outcome = _land(pull_spec(version, concurrency=6, verify="recount"), log, store)
    assert outcome.manifest.record_count == len(log.rows)


@pytest.mark.integration
@pytest.mark.parametrize("version", VERSIONS)
def test_a_crowded_second_with_an_odd_record_is_read(store: LocalStore, version: str) -> None:
    """Page numbers and cursors count an odd record like any other."""
    crowd = ordinary(version, NOON, 90, timedelta(milliseconds=10))
    odd = [Row(NOON + timedelta(milliseconds=ms), b'{"number":%d}' % ms) for ms in (5, 295, 605, 899)]
    log = OddLog(version, [*ordinary(version, START, 5, timedelta(hours=1)), *crowd, *odd], page_rows=20)
    assert _land(pull_spec(version), log, store).manifest.record_count == len(log.rows)


@pytest.mark.integration
# Invalid UTF-8 in a value is not odd: no decoder refuses it.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "not UTF-8"])
def test_a_strict_pull_refuses_an_odd_record(store: LocalStore, kind: str) -> None:
    """With odd_records="fail" nothing is written, and the error says what to do."""
    with pytest.raises(SourceProtocolError, match="Set odd_records to 'keep'") as caught:
        _land(pull_spec(odd_records="fail"), _log("v1", kind), store)
    assert not caught.value.retryable
    assert objects(store) == {}


@pytest.mark.integration
@pytest.mark.parametrize("version", VERSIONS)
def test_a_byte_order_mark_is_skipped(store: LocalStore, version: str) -> None:
    """A BOM before the body changes nothing."""
    log = OddLog(version, ordinary(version, NOON, 5, timedelta(minutes=1)))
    log.before_body = b"\xef\xbb\xbf"
    assert _land(pull_spec(version), log, store).manifest.record_count == 5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "broken",
    [b'{"id":"a"', b'{"id":"a}', b'{"id":"a"}]}', b'{"id":["a"}', b'{"id":"a"},', b',{"id":"a"}', b'{"a":1},,{"b":1}'],
)
def test_a_page_broken_as_a_whole_is_an_error(store: LocalStore, version: str, broken: bytes) -> None:
    """Where entries cannot be separated nothing is guessed: the pull fails and writes nothing."""
    log = OddLog(version, [Row(NOON, broken)])
    with pytest.raises(AuditProviderError, match="not the API's JSON"):
        _land(pull_spec(version), log, store)
    assert objects(store) == {}


@pytest.mark.integration
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_no_odd_record_is_written_in_clear_under_a_privacy_rule(
    store: LocalStore, version: str, file_format: str
) -> None:
    """What can be decoded is pseudonymised, what cannot is withheld: no address is in any object."""
    request = PrivacyRequest("staff", "vault", ("email", "ip"), ())
    spec = pull_spec(version, file_format=file_format, compression="none", privacy=PrivacyRule(request, b"k" * 32))
    log = _log_of_all(version)
    outcome = _land(spec, log, store)
    assert outcome.manifest.record_count == len(log.rows)
    assert not any(b"x@example.com" in content for content in objects(store).values())
    assert sum(b'"privacy_withheld"' in record.raw for record in landed(spec, store)) >= 12
    assert [found for found in verify(store).findings if found.severity == "severe"] == []
    again = _land(spec._replace(attempt_id="two"), log, store)
    assert (again.committed, again.missing_count) == (False, 0)


@pytest.mark.integration
def test_a_resumed_pull_lands_an_undated_record_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An undated record staged by the attempt before is not staged again, and is counted."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 1000)
    rows = ordinary("v1", START, 12_000, timedelta(seconds=5))
    undated = [Row(START + timedelta(seconds=5 * n, milliseconds=10), b'{"n":%d}' % n) for n in (500, 999, 1000, 7000)]
    log = OddLog("v1", [*rows, *undated], page_rows=500)
    send, count = log.send, 0

    def fail_late(request: Request) -> Response:
        nonlocal count
        count += 1
        if count > 20:
            raise SourceUnavailableError("The API is not available. Retry later.")
        return send(request)

    monkeypatch.setattr(log, "send", fail_late)
    with pytest.raises(SourceUnavailableError):
        _land(pull_spec(concurrency=1), log, store)
    monkeypatch.undo()
    monkeypatch.setattr(part_writer, "PART_RECORDS", 1000)
    outcome = _land(pull_spec(concurrency=1, attempt_id="two"), log, store)
    assert outcome.manifest.fetch.resumed_count > 0
    assert (outcome.manifest.record_count, outcome.manifest.odd_records) == (len(log.rows), {"time": 4})
    assert [found for found in verify(store).findings if found.severity == "severe"] == []
