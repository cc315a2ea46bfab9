"""The index of seals spares requests and proves nothing: whatever it states, the result is that of the seals."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

import msgspec
import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.core.archive.object_keys import WindowKeys, seal_key, signature_key
from airflow_audit_provider.core.ports import ListedObject
from airflow_audit_provider.core.verification import seal_index
from airflow_audit_provider.core.verification.findings import FindingKind, severe
from airflow_audit_provider.core.verification.seal_content import SealedManifest
from airflow_audit_provider.core.verification.seal_index import read_index, write_index
from airflow_audit_provider.core.verification.seals import SealChain
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import (
    StorageError,
    VerificationError,
)
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_objects import read_seals
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.verify.dataset import DAY, OTHER_PRIVATE_PEM, commit, record
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.sealed_days import ANCHORS, DAYS, INDEX, LAST_DAY, SIGNER, kinds, late_record, sealed_days

pytestmark = pytest.mark.integration


@pytest.fixture(params=[False, True], ids=["no digests", "digests"])
def store(request: pytest.FixtureRequest) -> CountingStore:
    """Eight sealed and signed days, in a store whose listings state digests or do not."""
    return sealed_days(states_md5=request.param)


def _indexes(store: MemoryStore) -> list[str]:
    return sorted(key for key in store.objects if "index" in key)


def _seal_without_index(store: MemoryStore, days_ago: int) -> None:
    """Seals a late record as a run does that leaves the writing of a large index to a later one."""
    late_record(store, days_ago)
    before = _indexes(store)
    seal(store, signer=SIGNER)
    for key in {*_indexes(store)} - {*before}:
        del store.objects[key]


def test_each_run_that_seals_writes_an_index(store: CountingStore) -> None:
    """It has all seals and signatures, those of the run included, and a run without a new seal writes none."""
    assert _indexes(store) == [INDEX]
    late_record(store)
    seal(store, signer=SIGNER)
    assert _indexes(store) == [INDEX, "_seals/index/000009.json"]
    assert {*read_index(INDEX.replace("8", "9"), store.objects[INDEX.replace("8", "9")], _sizes(store)).copies} == {
        *read_seals(store)
    }
    seal(store, signer=SIGNER)
    assert len(_indexes(store)) == 2
    assert verify(store, anchors=ANCHORS).findings == ()


def _sizes(store: MemoryStore) -> dict[str, int]:
    return {key: len(content) for key, content in store.objects.items()}


def test_large_index_is_written_when_four_seals_have_none(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four runs share the cost of writing a large index."""
    monkeypatch.setattr(seal_index, "_SMALL_BYTES", len(store.objects[INDEX]) - 1)
    for days_ago in (1, 2, 3):
        late_record(store, days_ago)
        seal(store, signer=SIGNER)
        assert _indexes(store) == [INDEX]
    late_record(store, 4)
    seal(store, signer=SIGNER)
    assert _indexes(store) == [INDEX, "_seals/index/000012.json"]
    assert verify(store, anchors=ANCHORS).findings == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("_OLDER_COUNT", 3, [2, 3, 1, 2, 3, 1, 2]), ("_OLDER_BYTES", 30_000, [2, 3, 1, 2, 1, 2, 1])],
)
def test_older_indexes_are_removed_together(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, name: str, value: int, expected: list[int]
) -> None:
    """They are removed when they are many or large, so that most runs do not spend a call on it."""
    monkeypatch.setattr(seal_index, name, value)
    counts = []
    for days_ago in range(1, 8):
        late_record(store, days_ago)
        seal(store, signer=SIGNER)
        counts.append(len(_indexes(store)))
    assert counts == expected
    assert verify(store, anchors=ANCHORS).findings == ()


class _RefusingStore(CountingStore):
    """Refuses to remove anything."""

    def remove(self, keys: Iterable[str]) -> None:
        """Counts the requests and raises."""
        self.calls["remove"] += len([*keys])
        raise StorageError("The store refuses to remove objects.")


def test_refused_removal_of_older_indexes_costs_each_run_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other indexes are not tried, so that their number does not add to the cost of a run."""
    monkeypatch.setattr(seal_index, "_OLDER_COUNT", 3)
    daily, counts = windows(12), []
    store = _RefusingStore(dict(committed(daily)))
    for one in daily:
        store.calls.clear()
        seal(store, one.start.date(), SIGNER)
        counts.append(store.call_count)
    assert len(_indexes(store)) == 9
    assert {*counts[6:]} == {counts[5] + 1}


def test_index_is_written_although_a_day_is_refused(store: CountingStore) -> None:
    """The seals of the other days are indexed, so that later runs do not read each of them."""
    first = windows(DAYS)[0]
    commit(store, first, [record(first.start, "other")], replace=True)
    late_record(store)
    with pytest.raises(VerificationError):
        seal(store, signer=SIGNER)
    assert _indexes(store) == [INDEX, "_seals/index/000009.json"]


@pytest.mark.parametrize("signer", [None, SIGNER])
def test_requests_of_seal_and_verify_do_not_grow_with_the_number_of_seals(signer: Ed25519Signer | None) -> None:
    """Nothing new, a new day and its verification: the same few requests after 8 days and after 120."""
    counts: list[list[int]] = []
    for days in (8, 120):
        store = CountingStore(dict(committed(windows(days))))
        seal(store, signer=signer)
        day = END.date() - timedelta(days=1)
        tasks: list[Callable[[], object]] = [
            partial(seal, store, signer=signer),
            partial(seal, store, day, signer),
            partial(verify, store, *LAST_DAY, ANCHORS if signer else TrustAnchors()),
        ]
        counts.append([])
        for task in tasks:
            store.calls.clear()
            task()
            counts[-1].append(store.call_count)
        store.calls.clear()
        late_record(store)
        store.calls.clear()
        seal(store, day, signer)
        counts[-1].append(store.call_count)
    assert counts[0] == counts[1]
    signed = bool(signer)
    assert all(
        count <= most for count, most in zip(counts[0], (4, 6 + signed, 9 + signed, 11 + 2 * signed), strict=True)
    )


def test_seal_after_an_index_is_that_without_one(store: CountingStore) -> None:
    """The next seal has the same bytes with an index and without one."""
    late_record(store)
    without = MemoryStore({key: content for key, content in store.objects.items() if key != INDEX})
    seal(store, signer=SIGNER)
    seal(without, signer=SIGNER)
    assert store.objects[seal_key(9)] == without.objects[seal_key(9)]


def _forged(store: MemoryStore, number: int) -> bytes:
    """Returns an index with another seal of this number, and all later ones linked anew."""
    objects = dict(read_seals(MemoryStore(store.objects)))
    chain = SealChain({key: objects[key] for key in objects if key.endswith(".json")})
    made = SealChain({})
    for one in chain.seals:
        manifests = one.manifests
        if one.number == number:
            manifests = tuple(msgspec.structs.replace(named, sha256="0" * 64) for named in manifests)
        next_seal = made.next_seal(one.day, manifests)
        assert next_seal is not None
        made = made.extend(next_seal, next_seal.to_bytes())
    signatures = {key: content for key, content in objects.items() if key.endswith(".sig")}
    return write_index({**made.objects, **signatures})


def _damages(store: MemoryStore) -> dict[str, bytes]:
    content = store.objects[INDEX]
    objects = read_seals(MemoryStore(store.objects))
    other_signature = {**objects, "_seals/000003.sig": b"x" * len(objects["_seals/000003.sig"])}
    return {
        "garbage": b"x",
        "empty": b"",
        "cut": content[: len(content) // 2],
        "version": content.replace(b'"index_version":1', b'"index_version":2'),
        "forged seal": _forged(store, 8),
        "forged older seal": _forged(store, 2),
        "seal left out": write_index({key: one for key, one in objects.items() if "000004" not in key}),
        "other object": write_index({**objects, "_dataset.json": b"{}"}),
        "other signature": write_index(other_signature),
    }


@pytest.mark.parametrize(
    "damage",
    [
        *("garbage", "empty", "cut", "version", "forged seal", "forged older seal"),
        *("seal left out", "other object", "other signature"),
    ],
)
@pytest.mark.parametrize("has_later_seal", [False, True])
def test_index_that_disagrees_is_ignored_and_reported(store: CountingStore, damage: str, has_later_seal: bool) -> None:
    """Each verification reports it as mild and finds nothing else, and the next seal is the right one."""
    if has_later_seal:
        _seal_without_index(store, 2)
    store.objects[INDEX] = _damages(store)[damage]
    for days_ago in (1, 2, 7):
        assert kinds(store, days_ago) == ["seal_index_ignored"]
    assert [str(one.kind) for one in verify(store, anchors=ANCHORS).findings] == ["seal_index_ignored"]
    right = MemoryStore({key: content for key, content in store.objects.items() if key != INDEX})
    for one in (store, right):
        late_record(one, 3)
        report = seal(one, signer=SIGNER)
        assert severe(report.findings) == []
    assert {k: v for k, v in store.objects.items() if "index" not in k} == {
        k: v for k, v in right.objects.items() if "index" not in k
    }


def test_any_changed_byte_of_an_index_changes_no_result(store: CountingStore) -> None:
    """A verification of a day has no severe finding, and finds a damaged seal of that day, whatever the index holds."""
    chance = random.Random(1)
    content = store.objects[INDEX]
    for _ in range(60):
        place = chance.randrange(len(content))
        store.objects[INDEX] = (
            content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
        )
        assert severe(verify(store, *LAST_DAY, ANCHORS).findings) == []
        damaged = MemoryStore({**store.objects, seal_key(8): store.objects[seal_key(8)].replace(b'"', b"'", 1)})
        assert severe(verify(damaged, *LAST_DAY, ANCHORS).findings)


@pytest.mark.parametrize("number", [1, 4, 7, 8])
@pytest.mark.parametrize("ending", ["json", "sig"])
def test_lost_seal_or_signature_is_severe_whatever_the_range(store: CountingStore, number: int, ending: str) -> None:
    """The listing shows that an object is gone, although the index has its copy."""
    del store.objects[f"_seals/{number:06}.{ending}"]
    # A lost seal leaves its signature.
    expected = "signature_orphaned" if ending == "json" else "signature_missing"
    without = MemoryStore({key: content for key, content in store.objects.items() if key != INDEX})
    for days_ago in (1, 5):
        found = kinds(store, days_ago)
        assert expected in found
        assert [kind for kind in found if kind != "seal_index_ignored"] == kinds(without, days_ago)


@pytest.mark.parametrize("first_lost", [8, 5, 1])
def test_index_newer_than_the_newest_seal_is_reported(store: CountingStore, first_lost: int) -> None:
    """The newest seals are gone and their index is left: each verification and seal run reports it as mild."""
    for number in range(first_lost, DAYS + 1):
        del store.objects[seal_key(number)], store.objects[signature_key(number)]
    if first_lost == 5:
        store.objects["_seals/index/000004.json"] = write_index(read_seals(MemoryStore(store.objects)))
    for span in ((END - DAYS * DAY, END - (DAYS - 1) * DAY), (None, None)):
        found = verify(store, *span).findings
        assert [one.key for one in found if one.kind is FindingKind.SEAL_INDEX_IGNORED] == [INDEX]
    report = seal(store, windows(DAYS)[-1].start.date(), SIGNER)
    assert [(one.kind, one.key) for one in report.findings] == [(FindingKind.SEAL_INDEX_IGNORED, INDEX)]


def test_lost_seals_around_the_end_of_an_index_are_severe(store: CountingStore) -> None:
    """The newest copied seal and the one after it are gone: they are named, and no run seals upon the rest."""
    for days_ago in (2, 3):
        _seal_without_index(store, days_ago)
    for number in (8, 9):
        del store.objects[seal_key(number)], store.objects[signature_key(number)]
    without = MemoryStore({key: content for key, content in store.objects.items() if key != INDEX})
    for days_ago in (1, 2, 3, 7):
        found = kinds(store, days_ago)
        assert "seal_missing" in found
        assert [kind for kind in found if kind != "seal_index_ignored"] == kinds(without, days_ago)
    late_record(store, 4)
    with pytest.raises(VerificationError, match="seal_missing"):
        seal(store, signer=SIGNER)


def test_seals_restored_after_the_listing_are_no_error(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest copied seal and the one after it are read, although the listing lacks them."""
    for days_ago in (2, 3):
        _seal_without_index(store, days_ago)
    listed = [one for one in store.list_objects("_seals/") if one.key not in {seal_key(8), seal_key(9)}]
    # With it, the index is not too large for the listed objects.
    listed.append(ListedObject("_seals/000001.tsr", 10_000))
    monkeypatch.setattr(store, "list_objects", lambda prefix: iter(listed))
    assert "signature_orphaned" in kinds(store)


@pytest.mark.parametrize("ending", ["json", "sig"])
def test_changed_seal_of_the_day_is_severe(store: CountingStore, ending: str) -> None:
    """The seals of the days of the range are read themselves, also if the change keeps their size."""
    number = 5
    key = f"_seals/{number:06}.{ending}"
    store.objects[key] = store.objects[key].replace(b'"', b"'", 1)
    days_ago = DAYS - number + 1
    assert severe(verify(store, END - days_ago * DAY, END - (days_ago - 1) * DAY, ANCHORS).findings)
    assert severe(verify(store, anchors=ANCHORS).findings)


def test_day_of_a_changed_seal_counts_as_sealed(store: CountingStore) -> None:
    """A forged window on a day whose seal is changed, too, is severe, and no run seals it."""
    key = seal_key(3)
    store.objects[key] = store.objects[key].replace(b'"', b"'", 1)
    manifest = next(key for key in store.objects if key.startswith(f"_manifests/dt={(END - 6 * DAY).date()}"))
    store.objects[manifest] = store.objects[manifest].replace(b"explicit bounds", b"explicit Bounds")
    assert "sealed_manifest_changed" in kinds(store, 6) or "seal_unreadable" in kinds(store, 6)
    before = dict(store.objects)
    with pytest.raises(VerificationError, match="was not sealed"):
        seal(store, (END - 6 * DAY).date(), SIGNER)
    assert store.objects == before


def test_forged_seal_in_a_forged_index_gets_no_successor(store: CountingStore) -> None:
    """An index with a seal that no run made proves only that it is stored, so that it stays a finding."""
    objects = read_seals(MemoryStore(store.objects))
    chain = SealChain(objects)
    other_day = msgspec.structs.replace(chain.seals[0].manifests[0], sha256="0" * 64)
    forged = chain.next_seal((END - 3 * DAY).date(), [other_day])
    assert forged is not None
    store.objects[forged.key] = forged.to_bytes()
    store.objects["_seals/index/000009.json"] = write_index({**objects, forged.key: forged.to_bytes()})
    assert "seal_misplaced" in kinds(store)
    late_record(store)
    before = dict(store.objects)
    with pytest.raises(VerificationError, match="seal_misplaced"):
        seal(store, signer=SIGNER)
    assert store.objects == before


def _with_long_window(*, has_own_seal: bool) -> CountingStore:
    """Returns twelve sealed days; one window reaches from the third into the ninth, and nothing announces it."""
    daily = windows(12)
    long = TimeWindow(daily[2].start + DAY / 2, daily[8].end)
    first_half = TimeWindow(daily[2].start, long.start)
    objects = dict(committed([*daily[:2], first_half, long, *daily[9:]]))
    if not has_own_seal:
        made = CountingStore(objects)
        seal(made, signer=SIGNER)
        return made
    key = WindowKeys(long, long.start.date()).manifest(1)
    made = CountingStore({one: content for one, content in objects.items() if one != key})
    seal(made, signer=SIGNER)
    named = SealedManifest(key, hashlib.sha256(objects[key]).hexdigest(), 2)
    own = SealChain(read_seals(made)).next_seal(long.start.date(), [named])
    assert own is not None
    signature = {signature_key(own.number): SIGNER.sign(own.to_bytes()).to_bytes()}
    for one, content in {key: objects[key], own.key: own.to_bytes(), **signature}.items():
        made.objects[one] = content
    return made


@pytest.mark.parametrize("has_own_seal", [False, True])
@pytest.mark.parametrize("lost", [set(), {0}, {1}, {0, 1}])
def test_long_window_of_a_distant_day_is_known_from_its_seal(has_own_seal: bool, lost: set[int]) -> None:
    """Its seal is read whole, although it is about a day before the range, and so are the others of that day."""
    store, start = _with_long_window(has_own_seal=has_own_seal), END - 5 * DAY
    folder = f"_manifests/dt={(END - 10 * DAY).date()}/"
    for number, key in enumerate(sorted(key for key in store.objects if key.startswith(folder))):
        if number in lost:
            del store.objects[key]
    without = MemoryStore({key: content for key, content in store.objects.items() if "index" not in key})
    by_index, whole = (verify(one, start, start + DAY, ANCHORS) for one in (store, without))
    assert by_index == whole
    missing = [one.key for one in by_index.findings if one.kind is FindingKind.SEALED_MANIFEST_MISSING]
    assert len(missing) == len(lost)
    assert by_index.window_count == (0 if 1 in lost else 1)


@pytest.mark.parametrize("days_ago", [1, 3, 8])
def test_report_of_a_range_is_that_without_an_index(store: CountingStore, days_ago: int) -> None:
    """Seals of other days are counted, dated and checked by their signatures, although their manifests are not read."""
    late_record(store, 3)
    commit(store, windows(DAYS)[0], [record(windows(DAYS)[0].start, "other")], replace=True)
    without = MemoryStore({key: content for key, content in store.objects.items() if key != INDEX})
    span = (END - days_ago * DAY, END - (days_ago - 1) * DAY)
    assert verify(store, *span, ANCHORS) == verify(without, *span, ANCHORS)


def test_malformed_seal_of_another_day_counts_for_nothing(store: CountingStore) -> None:
    """A forged seal with unsorted manifests, hidden in a forged index, is found without a range and by a seal run."""
    objects = read_seals(MemoryStore(store.objects))
    chain = SealChain(objects)
    named = chain.seals[3].manifests[0]
    unsorted = (msgspec.structs.replace(named, sha256="1" * 64), msgspec.structs.replace(named, sha256="0" * 64))
    for number in (9, 10):
        forged = chain.next_seal(chain.seals[3].day, unsorted)
        assert forged is not None
        content = msgspec.structs.replace(forged, manifests=unsorted).to_bytes()
        chain = SealChain({**chain.objects, forged.key: content})
        assert forged.number == number
    for key, content in {**chain.objects, "_seals/index/000010.json": write_index(chain.objects)}.items():
        store.objects[key] = content
    assert "signature_missing" in kinds(store)
    assert "seal_unreadable" in kinds(store, 5)
    assert "seal_unreadable" in [one.kind for one in verify(store, anchors=ANCHORS).findings]
    late_record(store)
    before = dict(store.objects)
    with pytest.raises(VerificationError, match="seal_unreadable"):
        seal(store, signer=SIGNER)
    assert store.objects == before


@pytest.mark.parametrize("damage", [None, b"x" * 10, "another key"])
def test_signature_is_read_unless_the_listing_states_the_digest_of_the_owners(
    store: CountingStore, damage: bytes | str | None
) -> None:
    """A seal run makes the signature itself and compares digests; any other object in its place is found."""
    _seal_without_index(store, 1)
    key = signature_key(9)
    if damage is not None:
        other = Ed25519Signer(OTHER_PRIVATE_PEM).sign(store.objects[seal_key(9)]).to_bytes()
        store.objects[key] = damage if isinstance(damage, bytes) else other
    store.reads.clear()
    found = [str(one.kind) for one in seal(store, signer=SIGNER).findings]
    assert found == ([] if damage is None else ["signature_invalid"])
    assert (key in store.reads) is (damage is not None or not store.states_md5)


def test_kept_digest_of_an_older_seal_is_found_in_the_index(store: CountingStore) -> None:
    """``expected_seal_sha256`` may be of a copied seal; a digest of no seal is severe."""
    digest = hashlib.sha256(store.objects[seal_key(2)]).hexdigest()
    assert kinds(store, anchors=ANCHORS._replace(expected_seal_sha256=digest)) == []
    assert kinds(store, anchors=ANCHORS._replace(expected_seal_sha256="0" * 64)) == ["seal_not_found"]


def test_sweep_leaves_the_index(store: CountingStore) -> None:
    """The index is no orphaned object."""
    sweep(store, END + 30 * DAY)
    assert INDEX in store.objects


@pytest.mark.parametrize("after_effect", [False, True])
def test_run_after_a_kill_makes_the_same_seals(after_effect: bool) -> None:
    """After a kill at any operation, also of the index, the next run makes the same seals and nothing is severe."""
    undamaged = dict(committed(windows(5)))
    undisturbed = MemoryStore(undamaged)
    count = CrashPoint()
    seal(CrashingStore(undisturbed, count), signer=SIGNER)
    assert any("create _seals/index" in name for name in count.operations)
    for number in range(1, len(count.operations) + 1):
        store = MemoryStore(undamaged)
        with pytest.raises(KilledError):
            seal(CrashingStore(store, CrashPoint(number, after_effect=after_effect)), signer=SIGNER)
        seal(store, signer=SIGNER)
        assert {key: store.objects[key] for key in undisturbed.objects if "index" not in key} == {
            key: content for key, content in undisturbed.objects.items() if "index" not in key
        }
        assert verify(store, anchors=ANCHORS).findings == ()
