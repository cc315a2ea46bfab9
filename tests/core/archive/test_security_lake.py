"""Keys of Security Lake state source, Region, account and UTC day as AWS documents it; other arguments are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.archive.dataset import dataset_of, lake_for
from airflow_audit_provider.core.archive.manifest import Part, check_placement, misplacements
from airflow_audit_provider.core.archive.object_keys import WindowKeys, window_in
from airflow_audit_provider.core.archive.part_names import part_digest
from airflow_audit_provider.core.archive.security_lake import CLASS_UIDS, SecurityLake, check_length
from airflow_audit_provider.core.windows.window import TimeWindow, to_ns
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.formats.ocsf.classes import RELEASES
from airflow_audit_provider.formats.options import LAKE_SCHEMAS
from tests.core.verification.manifests import WINDOW, manifest

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
GIVEN = {
    "bucket": "s3://aws-security-data-lake-eu-central-1-abc/",
    "source": "cf_{class_uid}",
    "region": "eu-central-1",
}
QUERY = audit_query("v1", None, account_id=ACCOUNT)
HOME = "s3://audit/cloudflare"
LAKE = lake_for(QUERY, GIVEN, HOME)
KEYS = WindowKeys(WINDOW, WINDOW.start.date(), LAKE)
SHA256 = "0123456789abcdef" * 4
START_NS = to_ns(WINDOW.start)


def test_classes_are_those_of_the_releases_that_security_lake_takes() -> None:
    """The classes with folders are those that events have in OCSF 1.1 and 1.3."""
    assert {RELEASES[schema].classes for schema in LAKE_SCHEMAS} == {frozenset(CLASS_UIDS)}


def test_key_has_the_documented_partitions() -> None:
    """A part's key has source, Region, account and day in AWS's order, and can be read back."""
    key = KEYS.lake_part(3, 12, SHA256, 3002, START_NS)
    day = f"{WINDOW.start:%Y%m%d}"
    assert key == (
        f"ext/cf_3002/region=eu-central-1/accountId=external_{ACCOUNT}/eventDay={day}/"
        f"{KEYS.name}.{LAKE.stream}.part-0003-00012-0123456789abcdef.parquet"
    )
    assert (KEYS.part_generation(key), part_digest(key), window_in(key)) == (3, "0123456789abcdef", WINDOW)


def test_window_over_midnight_has_folders_of_both_days() -> None:
    """A window over midnight has folders of both UTC days for each class, and none of a third day."""
    midnight = datetime(2026, 11, 2, tzinfo=UTC)
    window = TimeWindow(midnight - timedelta(minutes=30), midnight + timedelta(minutes=30))
    folders = WindowKeys(window, window.start.date(), LAKE).part_folders
    assert len(folders) == 2 * len(CLASS_UIDS)
    assert {folder.rpartition("eventDay=")[2] for folder in folders} == {"20261101/", "20261102/"}
    until_midnight = TimeWindow(midnight - timedelta(hours=1), midnight)
    assert len(WindowKeys(until_midnight, until_midnight.start.date(), LAKE).part_folders) == len(CLASS_UIDS)


@pytest.mark.parametrize(
    "change",
    [
        ("ext/cf_3002/", "ext/cf_3003/"),
        ("region=eu-central-1", "region=eu-west-1"),
        ("external_023e", "external_123e"),
        (LAKE.stream, "v2-00000000"),
        ("ext/", "ext/../ext/"),
        ("eventDay=", "eventDay=1"),
        (f"/{KEYS.name}", "/20260101T000000Z-20260102T000000Z"),
        (".parquet", "/x.parquet"),
    ],
)
def test_key_of_another_place_is_no_part_of_the_window(change: tuple[str, str]) -> None:
    """A key in another source, Region, account, stream, day or window is not that of a part of the window."""
    key = KEYS.lake_part(1, 0, SHA256, 3002, START_NS)
    assert KEYS.part_generation(key.replace(*change)) is None


def test_manifest_with_a_part_in_the_folder_of_another_day_is_misplaced() -> None:
    """A manifest whose part has events of another day than its folder is refused, and one with its own is not."""
    part = Part(KEYS.lake_part(1, 0, SHA256, 3002, START_NS), 1, SHA256, 1, START_NS, START_NS)
    good = manifest(parts=(part,), layout=LAKE)
    key = KEYS.manifest(1)
    assert not list(misplacements(key, good))
    for first_ns in (START_NS - 86_400 * 10**9, 10**30):
        moved = msgspec.structs.replace(part, first_event_ns=first_ns)
        with pytest.raises(VerificationError, match="not a valid part key"):
            check_placement(key, msgspec.structs.replace(good, parts=(moved,)))


@pytest.mark.parametrize("name", ["bucket", "source", "region", "account_id", "stream"])
def test_changed_layout_is_another_dataset(name: str) -> None:
    """Another bucket, source, Region, account or stream is a difference between datasets that is named."""
    changed = {"region": "us-east-1", "account_id": "123456789012", "stream": "v1-99999999"}.get(name, "other")
    held = dataset_of(manifest(layout=LAKE))
    differences = held.differences_from(dataset_of(manifest(layout=msgspec.structs.replace(LAKE, **{name: changed}))))
    assert len(differences) == 1
    assert differences[0].startswith("layout security_lake (")
    assert held.differences_from(dataset_of(manifest()))[0].endswith("not hive")
    assert "layout" not in str(dataset_of(manifest()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "cloudflare_audit_{class_uid}"}, "has 21 characters"),
        ({"source": "cf audit"}, "security_lake has source 'cf audit'"),
        ({"source": ""}, "security_lake has source ''"),
        ({"region": "Frankfurt"}, "security_lake has region 'Frankfurt'"),
        ({"account_id": "12345"}, "security_lake has account_id '12345'"),
        ({"account_id": "external_a/b"}, "security_lake has account_id 'external_a/b'"),
        ({"bucket": "s3://conn@bucket"}, "security_lake has bucket 's3://conn@bucket'"),
        ({"bucket": ""}, "security_lake has bucket ''"),
        ({"prefix": "x"}, "'prefix' in security_lake is unknown"),
    ],
)
def test_invalid_argument_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    """An argument that AWS's rules or a key cannot have is refused by its name."""
    with pytest.raises(ConfigurationError) as refused:
        lake_for(QUERY, GIVEN | change, HOME)
    assert said in str(refused.value)


@pytest.mark.parametrize("given", ["s3://bucket", None, ["bucket"]])
def test_arguments_that_are_no_dict_are_refused(given: object) -> None:
    """Arguments that are no dict, and a dict that lacks one, are refused."""
    with pytest.raises(ConfigurationError, match="security_lake is"):
        lake_for(QUERY, given, HOME)
    with pytest.raises(ConfigurationError, match="'region' in security_lake is missing"):
        lake_for(QUERY, {"bucket": "s3://bucket", "source": "cf"}, HOME)


def test_default_account_is_external_with_the_id_of_the_log() -> None:
    """The account is that of the log after external_, and external for a log without one, as AWS recommends."""
    assert LAKE.account_id == f"external_{ACCOUNT}"
    assert lake_for(audit_query("v1", "user"), GIVEN, HOME).account_id == "external"
    assert lake_for(QUERY, GIVEN | {"account_id": "123456789012"}, HOME).account_id == "123456789012"


def test_datasets_of_one_source_have_streams_of_their_own() -> None:
    """Datasets that differ in version, account, filters or destination never share the names of objects."""
    filtered = audit_query("v1", None, account_id=ACCOUNT, filters={"actor_email": "a@example.com"})
    others = [audit_query("v2", None, account_id=ACCOUNT), audit_query("v1", None, account_id="1" * 32), filtered]
    streams = {lake_for(query, GIVEN, HOME).stream for query in [QUERY, *others]}
    assert len(streams | {lake_for(QUERY, GIVEN, "s3://audit/other").stream}) == 5


def test_window_below_five_minutes_is_refused() -> None:
    """A window shorter than the least interval of deliveries is refused, one of five minutes is not."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    check_length(TimeWindow(start, start + timedelta(minutes=5)))
    with pytest.raises(ConfigurationError, match="shorter than 5 minutes"):
        check_length(TimeWindow(start, start + timedelta(seconds=299)))


def test_folder_of_no_date_has_no_day() -> None:
    """A folder with a day that no calendar has belongs to no day, and the right one to its date."""
    assert LAKE.day_of(LAKE.folder(3001, date(2026, 2, 28))) == date(2026, 2, 28)
    assert LAKE.day_of(LAKE.folder(3001, date(2026, 2, 28)).replace("20260228", "20260231")) is None


def test_layout_of_another_shape_is_refused_by_itself() -> None:
    """The layout in a manifest is checked as the arguments of a task are."""
    with pytest.raises(ConfigurationError, match="security_lake has stream"):
        SecurityLake("s3://bucket", "cf", "eu-central-1", "external", "../../x")
