"""A report states what is covered and proved, in one file that runs and fetches nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import jsonschema
import pytest

from airflow_audit_provider._airflow.report.document import MOST_ROWS
from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY, Stitching
from airflow_audit_provider.core.verification.manifest_index import write_index
from airflow_audit_provider.core.verification.pass_records import pass_record
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.seal import seal
from tests._airflow.coverage_page import histories
from tests._airflow.coverage_page.site import write
from tests._airflow.report.parsed import Parsed, parsed
from tests.architecture.source_files import PROJECT
from tests.docs.blocks import all_blocks
from tests.pipelines.history.generated import committed
from tests.pipelines.verify.dataset import (
    DAY,
    DAY_1,
    OTHER_PUBLIC_PEM,
    PRIVATE_PEM,
    PUBLIC_PEM,
    commit,
    record,
    two_days,
    window,
)

HOUR = timedelta(hours=1)
AT = "2026-10-27T13:00:00Z"


def report(destination: Path, *arguments: str, status: int = 0) -> Parsed:
    """Runs the command, checks its exit status, and returns the report."""
    out = destination.parent / "report.html"
    assert main(["report", str(destination), "--out", str(out), *arguments]) == status
    return parsed(out)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Two landed days that are sealed and signed, and their public key."""
    store = LocalStore(str(tmp_path / "audit"))
    two_days(store)
    seal(store, signer=Ed25519Signer(PRIVATE_PEM))
    (tmp_path / "seal.pub.pem").write_text(PUBLIC_PEM)
    return tmp_path / "audit"


def test_report_of_complete_dataset_says_so_first(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict, the windows, the verified signatures and the recorded verification are in it."""
    key = str(destination.parent / "seal.pub.pem")
    assert main(["verify", str(destination), "--public-key", key]) == 0
    found = report(destination, "--at", AT, "--public-key", key)
    assert found.verdict == "good"
    assert "Complete from 2026-10-26T00:00:00Z to 2026-10-27T12:00:00Z: 3 windows, 6 records, no gap." in found.text
    assert "A seal names the newest generation of 3 of 3 windows." in found.text
    assert "Records of verifications name the newest generation of 3 of 3 windows" in found.text
    assert "Whether a file was changed since then is not checked here." in found.text
    assert "It does not state whether signatures and time stamps were checked" in found.text
    _, newest, first = found.tables["Seals, the newest first"]
    assert (newest[0], newest[4], first[0], first[4]) == ("2", "valid", "1", "valid")
    assert newest[6] == sha256((destination / "_seals/000002.json").read_bytes()).hexdigest()
    ((_, passed),) = [found.tables["Verifications that passed"]]
    assert passed[3:] == ["none", "3", "6", newest[6]]
    assert "Complete from" in capsys.readouterr().out


def test_report_over_a_removed_part_names_the_command_that_finds_it(destination: Path) -> None:
    """The report reads no part, says so beside its verdict, and names the command, which fails."""
    next(destination.glob("dt=*/**/part-*")).unlink()
    found = report(destination, "--at", AT)
    assert found.verdict == "good"
    noted = "a file that was removed or changed is not noticed here. This command reads each of them: "
    before, after = found.text.split(noted)
    assert "no gap." in before
    assert "What is covered, and what is proved" in after
    program, *command = after.split()[:3]
    assert program == "airflow-audit-provider"
    assert main(command) == 1


def test_report_without_anchors_names_what_is_not_checked(destination: Path) -> None:
    """Without a key, a certificate and a digest, the report names the option that adds each check."""
    found = report(destination, "--at", AT)
    assert "there, not checked" in found.text
    for option in ("--public-key", "--tsa-certificate", "--expect-seal"):
        assert f"({option})" in found.text


def test_report_with_another_key_is_wrong(destination: Path) -> None:
    """A signature of somebody else is at the head of the report, among the seals, and among the findings."""
    other = destination.parent / "other.pem"
    other.write_text(OTHER_PUBLIC_PEM)
    found = report(destination, "--at", AT, "--public-key", str(other), status=1)
    assert found.verdict == "wrong"
    assert "2 severe findings about the seals" in found.text
    assert {row[4] for row in found.tables["Seals, the newest first"][1:]} == {"NOT valid"}
    assert {row[1] for row in found.tables["Findings"][1:]} == {"signature_invalid"}


def test_report_over_a_removed_changed_or_added_manifest_is_wrong(destination: Path) -> None:
    """A lost first window, a changed manifest of equal size and a generation that no seal names are at its head."""
    first = sorted(destination.glob("_manifests/dt=2026-10-26/20261026T000000Z-*"))
    kept = {path: path.read_bytes() for path in first}
    for path in first:
        path.unlink()
    assert findings_of(destination) == {"sealed_manifest_missing"}
    for path, content in kept.items():
        path.write_bytes(content)
    first[-1].write_bytes(kept[first[-1]].replace(b"explicit bounds", b"explicit Bounds"))
    assert first[-1].read_bytes() != kept[first[-1]]
    assert findings_of(destination) == {"sealed_manifest_changed"}
    first[-1].write_bytes(kept[first[-1]])
    commit(LocalStore(str(destination)), window(), [record(DAY_1 + timedelta(seconds=2), "forged")])
    assert findings_of(destination) == {"manifest_unsealed"}


def test_report_over_a_changed_manifest_that_the_index_copies_is_wrong(destination: Path) -> None:
    """Local files have no digest in a listing, so a change that keeps the size shows only in the manifest itself."""
    (destination / "_manifest_index").mkdir()
    (destination / "_manifest_index/2026-10.jsonl.gz").write_bytes(index_of(destination))
    manifest = next(destination.glob("_manifests/dt=2026-10-26/20261026T000000Z-*"))
    manifest.write_bytes(manifest.read_bytes().replace(b"explicit bounds", b"explicit Bounds"))
    assert findings_of(destination) == {"sealed_manifest_changed"}


def index_of(destination: Path) -> bytes:
    """Returns an index of all manifests, which a run writes for more windows than these."""
    paths = destination.glob("_manifests/**/*.json")
    content = write_index({path.relative_to(destination).as_posix(): path.read_bytes() for path in paths})
    assert content is not None
    return content


def test_report_names_windows_of_an_unsealed_day_that_overlap(tmp_path: Path) -> None:
    """Records of the shared time can be stored twice, whether a seal names the windows or not."""
    hours = [TimeWindow(DAY_1 + first * HOUR, DAY_1 + last * HOUR) for first, last in ((0, 3), (2, 4), (4, 5))]
    write(tmp_path / "landed", committed(hours, 1))
    found = report(tmp_path / "landed", "--at", "2026-10-26T06:00:00Z", status=1)
    assert "Something is wrong: 1 window that overlap another one." in found.text
    assert [row[1] for row in found.tables["Findings"][1:]] == ["windows_overlap"]


def test_report_names_what_a_verification_with_holes_left_out(destination: Path) -> None:
    """A range from the first to the last window alone would look whole."""
    keys = [path.relative_to(destination).as_posix() for path in destination.glob("_manifests/**/*.json")]
    ends = [min(keys), max(keys)]
    passed = pass_record(DAY_1 + 2 * DAY, ends, 4, None)
    (destination / passed.key).parent.mkdir()
    (destination / passed.key).write_bytes(passed.to_bytes())
    ((_, row),) = [report(destination, "--at", AT).tables["Verifications that passed"]]
    assert row[1:4] == [
        "2026-10-26T00:00:00Z",
        "2026-10-27T12:00:00Z",
        "2026-10-26T12:00:00Z to 2026-10-27T00:00:00Z",
    ]


def findings_of(destination: Path) -> set[str]:
    """Returns the kinds of findings of a report that says that something is wrong."""
    found = report(destination, "--at", AT, status=1)
    assert found.verdict == "wrong"
    assert "about the seals and the manifests that they name" in found.text
    return {row[1] for row in found.tables["Findings"][1:]}


def test_digest_of_a_changed_seal_is_that_of_its_stored_bytes(destination: Path) -> None:
    """The table of seals has no digest that only another seal states."""
    path = destination / "_seals/000001.json"
    path.write_bytes(path.read_bytes().replace(b'"sha256":"', b'"sha256":"0', 1))
    found = report(destination, "--at", AT, status=1)
    rows = {row[0]: row for row in found.tables["Seals, the newest first"]}
    assert rows["1"][6] == sha256(path.read_bytes()).hexdigest()


def test_report_of_each_state_lists_gaps_with_deadlines(tmp_path: Path) -> None:
    """Damage, a foreign window and gaps are in the verdict; each gap has its end, its deadline and its command."""
    write(tmp_path / "states", histories.every_state().items())
    found = report(tmp_path / "states", status=1)
    assert found.verdict == "wrong"
    assert "1 manifest cannot be used, 1 window of another dataset. Missing: 5 gaps" in found.text
    assert "beyond what Cloudflare keeps: 1 gap" in found.text
    gaps = found.tables["Gaps"][1:]
    lost, *others = gaps
    assert lost[2:] == ["missing, beyond retention", "", ""]
    assert all(until and command.startswith("airflow backfill create") for *_, until, command in others)
    states = {row[2] for row in found.tables["Spans, the newest first"][1:]}
    assert {"manifest damaged", "of another dataset", "committed, empty, not verified"} <= states
    assert {"committed and verified", "extended by late records, not verified"} <= states
    ((window_name, generation, _, late, _),) = found.tables[
        "Windows with more than one generation, late or odd records"
    ][1:]
    assert (window_name, generation, late) == (str((histories.today() - 6 * histories.DAY).date()), "2", "1")


def test_report_of_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A destination without a window is not called complete."""
    (tmp_path / "empty").mkdir()
    found = report(tmp_path / "empty", "--json", status=1)
    assert found.verdict == "wrong"
    values = json.loads(capsys.readouterr().out)
    schema = json.loads((PROJECT / "docs/reference/report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(values)
    assert values.keys() == schema["$defs"]["WrittenReport"]["properties"].keys()
    assert values["headline"] == "No window is committed, so nothing is covered."


def test_equal_destination_and_time_give_equal_bytes(destination: Path) -> None:
    """Two reports of one state have the same bytes, and another time has others."""
    contents = []
    for at in (AT, AT, "2026-10-28"):
        main(["report", str(destination), "--out", str(destination.parent / "again.html"), "--at", at])
        contents.append((destination.parent / "again.html").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    """HTML, scripts and marks that turn text around in a manifest, a folder or an acceptance add no element."""
    name = "a<b onload=alert(1)>#\u202e{{7*7}}"
    for folder in ("", "<script>alert(3)<", "#\u202e<script>alert(4)<"):
        write(tmp_path / name / folder, histories.hostile().items())
    found = report(tmp_path / name, status=1)
    assert not found.wrong
    assert "<script>alert(2)</script>{{ 7*7 }}" in found.text
    assert "\u202e" not in found.text
    assert "a<b onload=alert(1)>#\\u202e{{7*7}}/#\\u202e<script>alert(4)<" in found.text


@pytest.mark.integration
def test_folder_that_no_address_can_name_is_in_the_verdict(destination: Path) -> None:
    """A folder whose name no URI can have is said at the head, and does not hide the dataset at the root."""
    two_days(LocalStore(str(destination / "a%20b")))
    assert "2 datasets." in report(destination, "--at", AT).text
    out = destination.parent / "report.html"
    assert main(["report", destination.as_uri(), "--out", str(out), "--at", AT]) == 1
    assert "The folder a%20b/ cannot be read: The destination" in parsed(out).text
    assert "A seal names the newest generation of 3 of 3 windows." in parsed(out).text


def test_policy_allows_the_own_style_and_nothing_else(destination: Path) -> None:
    """The policy has the digest of the style in the file; the file has no element or attribute that fetches."""
    found = report(destination, "--at", AT)
    digest = b64encode(sha256(found.style.encode()).digest()).decode()
    assert found.policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "url(" not in found.style
    assert "@import" not in found.style
    assert not found.wrong


@pytest.mark.integration
def test_script_in_the_report_checks_the_copy(destination: Path) -> None:
    """The script that a reader takes from the report is the one of the documentation, and finds the seals intact."""
    found = report(destination, "--at", AT)
    _, script = found.codes
    page = "docs/auditors/check-without-this-package.md"
    (block,) = (one for one in all_blocks() if one.document == page and "_seals" in one.code)
    assert script.strip() == block.code.strip()
    path = destination.parent / "check_seals.py"
    path.write_text(script)
    command = [sys.executable, "-I", str(path), str(destination), "--key", str(destination.parent / "seal.pub.pem")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    last = answer.stdout.splitlines()[-1]
    assert last.startswith("intact; newest seal ")
    assert last.rpartition(" ")[2] in found.text


@pytest.mark.parametrize("count", [600, pytest.param(50_000, marks=pytest.mark.nightly)])
def test_report_of_long_history_is_bounded(tmp_path: Path, count: int) -> None:
    """A history with a gap after each second window has tables of at most so many rows, and says how many more."""
    start = DAY_1 - timedelta(hours=count)
    hour = timedelta(hours=1)
    starts = [start + number * hour for number in range(count) if number % 3]
    windows = [TimeWindow(one, one + hour) for one in starts]
    write(tmp_path / "long", committed(windows, 1))
    found = report(tmp_path / "long", "--at", "2026-10-26", status=1)
    assert all(len(rows) <= MOST_ROWS + 1 for rows in found.tables.values())
    assert "earlier spans more." in found.text
    assert (tmp_path / "report.html").stat().st_size < 400_000


def test_stitched_history_ends_version_1_at_its_overlap(tmp_path: Path) -> None:
    """The report has both versions; version 1 has no gap after the overlap, and a version without a window is wrong."""
    root = tmp_path / "both"
    two_days(LocalStore(str(root / "v1")))
    stitching = Stitching("0" * 32, (), DAY_1 + timedelta(hours=12), 24 * 3600)
    LocalStore(str(root)).create(STITCHING_KEY, stitching.to_bytes())
    found = report(root, "--at", "2026-11-10", status=1)
    assert "Version v2 of the stitched history has no window." in found.text
    commit(LocalStore(str(root / "v2")), window(0), [])
    found = report(root, "--at", "2026-11-10", status=1)
    assert "2 datasets. Not complete" in found.text
    ends = [row[1] for row in found.tables["Spans, the newest first"][1:]]
    assert ends


def test_file_that_cannot_be_written_ends_in_what_to_do(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder does not exist; the error names the file and the remedy, and nothing is left."""
    assert main(["report", str(destination), "--out", str(destination / "no/report.html"), "--at", AT]) == 2
    assert "Name a file in a folder that exists and is writable." in capsys.readouterr().err
