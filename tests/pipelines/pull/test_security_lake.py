"""The objects of a custom source in Security Lake, on a real S3 server, checked against AWS's published rules.

The rules are those of "Collecting data from custom sources in Security Lake" in AWS's user guide; each test names one.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple
from uuid import uuid4

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore, store_from_filesystem
from airflow_audit_provider.adapters.storage.lake_store import LakeStore
from airflow_audit_provider.core.archive.security_lake import CLASS_UIDS
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError, VerificationError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.adapters.storage.real_stores import S3Server, Servers
from tests.formats.parquet_pages import page_sizes
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    IN_LAKE,
    LAKE,
    fake_with,
    keys_of,
    land,
    landed_ids,
    objects,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)
from tests.pipelines.pull.meanwhile import Meanwhile
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

pytestmark = pytest.mark.integration
# A window over a midnight of UTC.
START = datetime(2026, 10, 25, 18, tzinfo=UTC)
END = datetime(2026, 10, 26, 18, tzinfo=UTC)
DAYS = ("20261025", "20261026")
MIB = 1 << 20
SIGNER, ANCHORS = Ed25519Signer(PRIVATE_PEM), TrustAnchors(Ed25519Verifier([PUBLIC_PEM]))


class Lake(NamedTuple):
    """A destination with its lake, the fake, and the lake's objects before and after late records were added."""

    store: LakeStore
    fake: FakeCloudflare
    spec: PullSpec
    versions_before: dict[str, str]
    versions: dict[str, str]
    contents: dict[str, bytes]
    tree: Path


def _open_lake(server: S3Server, folder: Path) -> tuple[LakeStore, str]:
    name = f"lake-{uuid4().hex[:12]}"
    server.make_bucket(name)
    where = {"endpoint_url": server.url, "region_name": "eu-central-1"}
    fs = fsspec.filesystem("s3", key=server.key_id, secret=server.key, client_kwargs=where, skip_instance_cache=True)

    def open_bucket(uri: str) -> Store:
        assert uri == LAKE.bucket
        return store_from_filesystem(fs, name)

    return LakeStore(LocalStore(str(folder / "home")), open_bucket), name


@pytest.fixture(scope="module")
def lake(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A day over a midnight with a few huge records, landed in parts of 2000 records, and late records after it."""
    server, folder = servers("s3-moto"), tmp_path_factory.mktemp("lake")
    assert isinstance(server, S3Server)
    store, bucket = _open_lake(server, folder)
    fake = fake_with(ManualClock(), "huge_records=300000,every=700", records_per_day=3000, requests_per_window=None)
    spec = pull_spec(start=START, end=END, **IN_LAKE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_writer, "PART_RECORDS", 2000)
        # The caller of a first run knows the bucket; afterwards the descriptor names it.
        first = LakeStore(store.home, store._open_bucket, LAKE.bucket)
        land(spec, reader_of(fake, ManualClock()), first)
    before = server.versions(bucket)
    for hour, action in ((19, "login"), (20, "add"), (23, "login")):
        fake.add(record_at(f"2026-10-25T{hour}:30:00Z", f"late-{hour}", action=action))
    land(spec._replace(attempt_id="two"), reader_of(fake, ManualClock()), store)
    after = server.versions(bucket)
    contents = {key: server.content(bucket, key) for key in after}
    for key, content in contents.items():
        path = folder / "tree" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Lake(store, fake, spec, before, after, contents, folder / "tree")


def _rows(content: bytes) -> list[dict[str, Any]]:
    return pq.read_table(pa.BufferReader(content)).to_pylist()


def _query(text: str) -> list[Any]:
    found = duckdb.sql(text)
    assert found is not None
    return found.fetchall()


def test_objects_are_below_the_documented_partitions(lake: Lake) -> None:
    """Partitioning: the lake has objects in folders of source, Region, account and day, and nothing else."""
    folders = {key.rpartition("/")[0] for key in lake.versions}
    account = LAKE.account_id
    expected = {
        f"ext/cf_audit_{uid}/region=eu-central-1/accountId={account}/eventDay={day}"
        for uid in CLASS_UIDS
        for day in DAYS
    }
    assert folders == expected
    assert all(key.endswith(".parquet") for key in lake.versions)


def test_manifests_are_outside_of_the_lake(lake: Lake) -> None:
    """Destination: the manifests, the descriptor and staging are in the dataset's own destination."""
    own = {key.partition("/")[0] for key in objects(lake.store.home)}
    assert own <= {"_manifests", "_dataset.json", "_commit_log", "_staging"}
    manifest = latest_committed(lake.store, keys_of(lake.spec))
    assert manifest is not None
    assert {part.key for part in manifest.manifest.parts} == set(lake.versions)


def test_each_object_has_events_of_one_class(lake: Lake) -> None:
    """Schema: one OCSF class in an object, in the source of that class, in OCSF 1.3.0."""
    for key, content in lake.contents.items():
        rows = _rows(content)
        assert {row["class_uid"] for row in rows} == {int(key.split("/")[1].removeprefix("cf_audit_"))}
        assert {row["metadata"]["version"] for row in rows} == {"1.3.0"}


def test_records_are_ordered_by_time_within_the_day_of_their_folder(lake: Lake) -> None:
    """Sorting and eventDay: records are ordered by time, and their UTC day is that of the folder."""
    for key, content in lake.contents.items():
        times = [row["time"] for row in _rows(content)]
        assert times == sorted(times)
        days = {f"{datetime.fromtimestamp(one / 1000, UTC):%Y%m%d}" for one in times}
        assert days == {key.split("eventDay=")[1][:8]}


def test_pages_row_groups_and_compression_are_as_documented(lake: Lake) -> None:
    """Format: Parquet 1.x or 2.x with zstd, pages up to 1 MB uncompressed, row groups up to 256 MB compressed."""
    largest = 0
    for content in lake.contents.values():
        metadata = pq.read_metadata(pa.BufferReader(content))
        assert metadata.format_version in ("1.0", "2.4", "2.6")
        for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
            columns = [group.column(number) for number in range(metadata.num_columns)]
            assert {column.compression for column in columns} == {"ZSTD"}
            assert sum(column.total_compressed_size for column in columns) <= 256 * MIB
        largest = max(largest, *(size for _, size in page_sizes(content)))
    # The log has enough text for a page that is ended by its size.
    assert MIB // 3 < largest <= 1_000_000


def test_hive_reader_finds_every_record_once(lake: Lake) -> None:
    """A reader of the whole lake, by its partitions and without a manifest, finds every record once."""
    read = f"read_parquet('{lake.tree}/ext/*/*/*/*/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
    ids = [row[0] for row in _query(f"SELECT metadata.uid FROM {read}")]
    assert sorted(ids) == true_ids(lake.fake, start=START, end=END)
    places = _query(f'SELECT DISTINCT region, accountId, eventDay FROM {read} ORDER BY "eventDay"')
    assert places == [("eu-central-1", LAKE.account_id, day) for day in DAYS]
    days = _query(f"SELECT eventDay FROM {read} WHERE metadata.uid LIKE 'late-%'")
    assert days == [("20261025",)] * 3


def test_late_records_come_as_new_objects(lake: Lake) -> None:
    """Late records are in objects of their own, and no earlier object changes."""
    assert {key: lake.versions[key] for key in lake.versions_before} == lake.versions_before
    new = set(lake.versions) - set(lake.versions_before)
    ids = Counter(row["metadata"]["uid"] for key in new for row in _rows(lake.contents[key]))
    assert ids == {"late-19": 1, "late-20": 1, "late-23": 1}


def test_other_pipelines_work_on_the_lake(lake: Lake) -> None:
    """A lake verifies as a whole and by days, is covered, and a sweep removes nothing of it."""
    second_day, record_count = datetime(2026, 10, 26, tzinfo=UTC), len(true_ids(lake.fake, start=START, end=END))
    for bounds in ((None, None), (START, END), (second_day, second_day + timedelta(days=1))):
        report = verify(lake.store, *bounds)
        assert (report.window_count, report.record_count, report.findings) == (1, record_count, ())
    swept = sweep(lake.store, datetime.now(UTC) + timedelta(days=9))
    assert not [key for key in swept.keys if key.startswith("ext/")]


def test_foreign_objects_in_the_lake_are_found_and_kept(lake: Lake, tmp_path: Path) -> None:
    """Objects of others in the source's folders are found by verification, other sources are not, and all stay."""
    store = LocalStore(str(tmp_path))
    spec = pull_spec(**IN_LAKE)
    land(spec, reader_of(fake_with(ManualClock(), records_per_day=20), ManualClock()), store)
    folder = LAKE.folder(3002, spec.run_window.window.start.date())
    foreign = [f"{folder}other.parquet", "ext/others/region=eu-central-1/x.parquet", "aws/CLOUD_TRAIL/x.parquet"]
    for key in foreign:
        store.put(key, b"foreign")
    assert [found.key for found in severe(verify(store).findings)] == [foreign[0], foreign[1]]
    near = verify(store, spec.run_window.window.start, spec.run_window.window.end)
    assert [found.key for found in near.findings] == [foreign[0]]
    sweep(store, datetime.now(UTC) + timedelta(days=9))
    land(spec._replace(attempt_id="two"), reader_of(fake_with(ManualClock(), records_per_day=20), ManualClock()), store)
    assert set(foreign) <= set(objects(store))


@pytest.mark.parametrize("has_late", [False, True])
def test_killed_publication_leaves_no_record_twice(tmp_path: Path, has_late: bool) -> None:
    """After a kill before the manifest, the next run removes or adopts each object that readers could see."""
    store, fake, spec = LocalStore(str(tmp_path)), fake_with(ManualClock(), records_per_day=60), pull_spec(**IN_LAKE)
    count = CrashPoint()
    land(spec, reader_of(fake, ManualClock()), CrashingStore(LocalStore(str(tmp_path / "count")), count))
    at = next(number for number, name in enumerate(count.operations, 1) if name.startswith("create _manifests/"))
    with pytest.raises(KilledError):
        land(spec, reader_of(fake, ManualClock()), CrashingStore(store, CrashPoint(at)))
    seen = {key for key in objects(store) if key.startswith("ext/")}
    assert seen
    if has_late:
        fake.add(record_at("2026-10-26T05:00:00Z", "late", action="login"))
    land(spec._replace(attempt_id="two"), reader_of(fake, ManualClock()), store)
    left = [key for key in objects(store) if key.startswith("ext/")]
    ids = [row["metadata"]["uid"] for key in left for row in _rows(store.read(key) or b"")]
    assert sorted(ids) == true_ids(fake) == landed_ids(spec, store)
    assert (seen <= set(left)) is not has_late


def test_empty_window_has_no_object(tmp_path: Path) -> None:
    """An empty window is committed and leaves nothing in the lake."""
    store, spec = LocalStore(str(tmp_path)), pull_spec(filters={"actor_email": "nobody@example.com"}, **IN_LAKE)
    outcome = land(spec, reader_of(fake_with(ManualClock(), records_per_day=20), ManualClock()), store)
    assert (outcome.committed, outcome.manifest.record_count) == (True, 0)
    assert not [key for key in objects(store) if key.startswith("ext/")]


@pytest.mark.parametrize("change", [{"region": "us-east-1"}, {"account_id": "external"}, {"source": "other"}, None])
def test_other_layout_in_an_existing_dataset_is_refused(tmp_path: Path, change: dict[str, str] | None) -> None:
    """A destination that holds a dataset of one layout takes no window of another one."""
    store, fake = LocalStore(str(tmp_path)), fake_with(ManualClock(), records_per_day=20)
    land(pull_spec(**IN_LAKE), reader_of(fake, ManualClock()), store)
    before = objects(store)
    other: Any = LAKE if change is None else type(LAKE)(**{**_fields(), **change})
    spec = pull_spec(**(IN_LAKE | {"lake": None if change is None else other}), attempt_id="two")
    with pytest.raises(CommitConflictError, match="layout security_lake"):
        land(spec, reader_of(fake, ManualClock()), store)
    assert objects(store) == before


def _fields() -> dict[str, str]:
    return {name: getattr(LAKE, name) for name in LAKE.__struct_fields__}


def test_short_window_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Object size and rate: a window of less than 5 minutes is refused, and nothing is written."""
    store, spec = LocalStore(str(tmp_path)), pull_spec(end=datetime(2026, 10, 26, 0, 4, tzinfo=UTC), **IN_LAKE)
    with pytest.raises(ConfigurationError, match="shorter than 5 minutes"):
        land(spec, reader_of(fake_with(ManualClock(), records_per_day=20), ManualClock()), store)
    assert not objects(store)


@pytest.mark.parametrize("is_there", [True, False], ids=["damaged", "removed"])
def test_damaged_descriptor_is_one_finding(tmp_path: Path, is_there: bool) -> None:
    """Without a readable descriptor, verification finds the parts in the lake by the newest manifest that is intact."""
    home, bucket = LocalStore(str(tmp_path / "home")), LocalStore(str(tmp_path / "lake"))
    fake = fake_with(ManualClock(), records_per_day=20)
    land(pull_spec(**IN_LAKE), reader_of(fake, ManualClock()), LakeStore(home, lambda _: bucket, LAKE.bucket))
    if is_there:
        home.put("_dataset.json", b"{")
    else:
        home.remove(["_dataset.json"])
    expected = ["dataset_unreadable" if is_there else "dataset_missing"]
    report = verify(LakeStore(home, lambda _: bucket))
    assert [one.kind for one in report.findings] == expected
    newer = "_manifests/dt=2026-10-27/20261027T000000Z-20261028T000000Z.g0001.json"
    home.put(newer, b"{")
    report = verify(LakeStore(home, lambda _: bucket))
    assert sorted(one.kind for one in report.findings) == sorted([*expected, "manifest_unreadable"])
    assert report.record_count == len(true_ids(fake))
    lost = next(iter(bucket.list_keys("")))
    bucket.remove([lost])
    assert lost in [one.key for one in verify(LakeStore(home, lambda _: bucket)).findings]


def _ids_in_lake(store: LocalStore) -> list[str]:
    keys = [key for key in objects(store) if key.startswith("ext/")]
    return sorted(row["metadata"]["uid"] for key in keys for row in _rows(store.read(key) or b""))


def test_replacement_that_is_sealed_while_it_is_read_replaces_nothing(tmp_path: Path) -> None:
    """A seal that comes after the plan of a replacement is seen before anything of the replacement is in the lake."""
    store, fake = LocalStore(str(tmp_path)), fake_with(ManualClock(), records_per_day=20)
    land(pull_spec(**IN_LAKE), reader_of(fake, ManualClock()), store)
    before = objects(store)
    sealing = Meanwhile(fake, lambda: seal(store))
    with pytest.raises(CommitConflictError, match="are sealed, so replace=True would leave them"):
        land(pull_spec(replace=True, attempt_id="two", **IN_LAKE), reader_of(fake, ManualClock(), sealing), store)
    after = {key: content for key, content in objects(store).items() if not key.startswith("_seals/")}
    assert after == before
    assert _ids_in_lake(store) == true_ids(fake)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.nightly)])
def test_seal_of_a_lake_after_a_kill_is_that_of_an_undisturbed_run(
    tmp_path: Path, step: int, after_effect: bool
) -> None:
    """A seal that is killed at any operation changes nothing in the lake, and the next run makes the same seals."""
    fake, home, bucket = fake_with(ManualClock(), records_per_day=20), tmp_path / "h", LocalStore(str(tmp_path / "b"))
    for number in range(2):
        at = START + number * (END - START)
        first = LakeStore(LocalStore(str(home)), lambda _: bucket, LAKE.bucket)
        land(pull_spec(start=at, end=at + (END - START), **IN_LAKE), reader_of(fake, ManualClock()), first)
    in_lake, count = objects(bucket), CrashPoint()
    copytree(home, tmp_path / "undisturbed")
    undisturbed = LocalStore(str(tmp_path / "undisturbed"))
    seal(CrashingStore(LakeStore(undisturbed, lambda _: bucket), count), signer=SIGNER)
    assert {key for key in count.operations if key.startswith(("read ext/", "list sizes ext/"))}
    for number in range(1, len(count.operations) + 1, step):
        copytree(home, tmp_path / str(number))
        store = LakeStore(LocalStore(str(tmp_path / str(number))), lambda _: bucket)
        with pytest.raises(KilledError):
            seal(CrashingStore(store, CrashPoint(number, after_effect=after_effect)), signer=SIGNER)
        seal(store, signer=SIGNER)
        assert objects(store.home) == objects(undisturbed), count.operations[number - 1]
        assert objects(bucket) == in_lake
    assert verify(LakeStore(undisturbed, lambda _: bucket), anchors=ANCHORS).findings == ()


class _SealedBeforeManifest(LocalStore):
    """Store in which a seal is created just before a manifest is."""

    def create(self, key: str, content: bytes) -> bool:
        """Creates an object."""
        if key.startswith("_manifests/"):
            seal(LocalStore(str(self._root)))
        return super().create(key, content)


def test_replacement_that_is_sealed_before_its_manifest_fails_until_it_erases(tmp_path: Path) -> None:
    """If a seal comes so late that old and new parts are in the lake, each replacement fails until one erases."""
    store, fake = LocalStore(str(tmp_path)), fake_with(ManualClock(), records_per_day=20)
    land(pull_spec(**IN_LAKE), reader_of(fake, ManualClock()), store)
    for attempt, at in (("two", _SealedBeforeManifest(str(tmp_path))), ("three", store)):
        with pytest.raises(VerificationError, match="sealed while they were replaced"):
            land(pull_spec(replace=True, attempt_id=attempt, **IN_LAKE), reader_of(fake, ManualClock()), at)
        assert len(_ids_in_lake(store)) == 2 * len(true_ids(fake))
    erasing = pull_spec(replace=True, erase_reason="twice", attempt_id="four", **IN_LAKE)
    land(erasing, reader_of(fake, ManualClock()), store)
    assert _ids_in_lake(store) == true_ids(fake)
