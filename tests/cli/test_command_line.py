"""Tests that the command line works offline, without Airflow, in text or JSON, with a documented exit status."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.observer import KeptReason
from tests.architecture.source_files import PROJECT
from tests.pipelines.verify.authority import Authority, served
from tests.pipelines.verify.dataset import (
    OTHER_PUBLIC_PEM,
    PRIVATE_PEM,
    PUBLIC_PEM,
    commit,
    records_in,
    two_days,
    window,
)
from tests.pipelines.verify.forgery import forge_erasure, forge_replacement


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Two landed days without a seal."""
    two_days(LocalStore(str(tmp_path / "audit")))
    return tmp_path / "audit"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    """The files of a private key and its public half."""
    private, public = tmp_path / "seal.pem", tmp_path / "seal.pub.pem"
    private.write_text(PRIVATE_PEM)
    public.write_text(PUBLIC_PEM)
    return str(private), str(public)


@pytest.mark.integration
def test_module_verifies_without_airflow(destination: Path) -> None:
    """Verifies a copy in an interpreter in which Airflow cannot be imported."""
    code = (
        "import sys; sys.modules['airflow'] = None\n"
        "from airflow_audit_provider.cli.__main__ import main\n"
        f"sys.exit(main(['verify', {str(destination)!r}, '--json']))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["record_count"] == 6
    module = [sys.executable, "-m", "airflow_audit_provider.cli", "--version"]
    assert subprocess.run(module, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()


def test_verify_of_sound_dataset_returns_0(
    destination: Path, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Seals with a key, then verifies with the public key and the digest."""
    private, public = keys
    assert main(["seal", str(destination), "--signing-key", private, "--json"]) == 0
    sealed = json.loads(capsys.readouterr().out)
    newest = hashlib.sha256((destination / sealed["created"][-1]["key"]).read_bytes()).hexdigest()
    assert sealed["newest_seal_sha256"] == sealed["created"][-1]["sha256"] == newest
    assert sealed["signed_count"] == len(sealed["created"]) == 2
    assert main(["verify", f"file://{destination}", "--public-key", public, "--expect-seal", newest, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["window_count"], report["seal_count"], report["findings"]) == (3, 2, [])


def test_seal_upon_a_chain_without_the_expected_seal_returns_1(
    destination: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seals nothing if the digest of the run before is not in the chain."""
    assert main(["seal", str(destination), "--day", "2026-10-26", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["newest_seal_sha256"]
    assert main(["seal", str(destination), "--expect-seal", "0" * 64]) == 1
    assert "nothing was sealed" in capsys.readouterr().err
    assert not (destination / "_seals/000002.json").exists()
    assert main(["seal", str(destination), "--expect-seal", kept]) == 0
    assert "1 seal created" in capsys.readouterr().out


def test_seal_in_text_prints_each_seal(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints a line for each seal with its digest, and the newest digest last."""
    assert main(["seal", str(destination), "--day", "2026-10-26"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("_seals/000001.json  ")
    assert first.endswith("2026-10-26, 3 manifests")
    assert "1 seal created, 0 signed" in last


@pytest.mark.integration
def test_seal_of_replaced_window_needs_its_key_and_a_name(
    destination: Path, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Returns 1 and names the key to accept; with the key alone 2; with key and name it seals."""
    private, public = keys
    command = ["seal", str(destination), "--signing-key", private]
    assert main(command) == 0
    key = forge_replacement(LocalStore(str(destination)), window(), keep_old=True)
    capsys.readouterr()
    assert main(command) == 1
    assert key in capsys.readouterr().err
    assert main([*command, "--accept-replaced", key]) == 2
    assert main([*command, "--accept-replaced", "dt=x", "--accepted-by", "Ada"]) == 2
    assert main([*command, "--accept-replaced", key, "--accepted-by", "Ada"]) == 0
    capsys.readouterr()
    assert main(["verify", str(destination), "--public-key", public, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["kind"], found["key"]) == ("replacement_accepted", key)
    assert "'Ada' accepted" in found["detail"]
    assert "0 records removed, 0 added, 1 changed" in found["detail"]


@pytest.mark.integration
def test_seal_and_verify_with_time_stamps(
    destination: Path, keys: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stamps each seal, verifies it offline and prints when each seal existed; a short limit returns 1."""
    private, public = keys
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    certificate = ["--tsa-certificate", str(authority.folder / "root.pem")]
    with served(authority) as url:
        assert main(["seal", str(destination), "--signing-key", private, "--tsa", url, *certificate]) == 0
    assert "2 seals created, 2 signed, 2 time-stamped" in capsys.readouterr().out
    command = ["verify", str(destination), "--public-key", public, *certificate]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "seal  day         states  proved by" in text
    assert main([*command, "--sealed-within", "0.01"]) == 1
    assert "sealed_late" in capsys.readouterr().out
    assert main(["verify", str(destination), "--sealed-within", "1"]) == 2


@pytest.mark.integration
def test_seal_after_broken_chain_returns_1(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names the lost seal; the days up to the newest sealed one are not sealed, a later day is."""
    assert main(["seal", str(destination)]) == 0
    (destination / "_seals" / "000001.json").unlink()
    assert main(["seal", str(destination)]) == 1
    assert "seal_missing at _seals/000001.json" in capsys.readouterr().err
    commit(LocalStore(str(destination)), window(5), [])
    assert main(["seal", str(destination), "--day", "2026-10-31"]) == 1
    text = capsys.readouterr().out
    assert "seal_missing" in text
    assert "1 seal created" in text


@pytest.mark.integration
def test_seal_that_finds_a_garbage_signature_returns_1(
    destination: Path, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the table of findings before the seals."""
    assert main(["seal", str(destination)]) == 0
    (destination / "_seals" / "000001.sig").write_bytes(b"x")
    assert main(["seal", str(destination), "--signing-key", keys[0]]) == 1
    text = capsys.readouterr().out
    assert "signature_invalid  _seals/000001.sig" in text
    assert "1 signed" in text


@pytest.mark.integration
def test_verify_of_damaged_dataset_returns_1_with_findings(
    destination: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints severity, kind, key and remedy of each finding, as text or JSON."""
    part = next(destination.glob("dt=*/window=*/part-0001*"))
    part.write_bytes(part.read_bytes() + b"\n")
    assert main(["verify", str(destination)]) == 1
    heading, line, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["severity", "kind", "key", "detail"]
    assert line.startswith("severe    part_size")
    assert line.endswith(".")
    assert main(["verify", str(destination), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert found["key"] == part.relative_to(destination).as_posix()


@pytest.mark.integration
def test_verify_with_mild_findings_returns_0(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints mild findings and succeeds."""
    (destination / "notes.txt").write_text("hello")
    assert main(["verify", str(destination)]) == 0
    assert "object_foreign" in capsys.readouterr().out


def test_coverage_without_gaps_returns_0(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Finds no gap between the first window and the end of the last."""
    assert main(["coverage", str(destination), "--end", "2026-10-27T12:00:00Z"]) == 0
    lines = capsys.readouterr().out.splitlines()
    log = f"account {'0' * 32}"
    assert lines[0] == (
        f"./: API version v1, audit log {log}, filters none, file format jsonl, schema raw, privacy rule none"
    )
    assert [line.split()[2] for line in lines[2:-3]] == ["committed", "empty", "committed"]
    assert lines[-3].endswith("6 records, 0 gaps, 0 foreign windows")
    assert lines[-2].endswith("complete without a gap up to 2026-10-27T12:00:00Z")
    assert lines[-1] == "no passed verification is recorded"


def test_coverage_up_to_a_future_date_is_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Time that is not due yet is pending, so a range up to the end of the year exits with 0."""
    store, now = LocalStore(str(tmp_path)), datetime.now(UTC)
    today = datetime(now.year, now.month, now.day, tzinfo=UTC)
    # Ends half a day to a day and a half before now, so the next window of a day and a half is not over.
    day = TimeWindow(today - timedelta(days=2), today - timedelta(hours=12))
    commit(store, day, records_in(day, 1))
    arguments = ["coverage", str(tmp_path), "--end", (today + timedelta(days=99)).isoformat()]
    assert main(arguments) == 0
    assert "pending" in capsys.readouterr().out
    before = [*arguments, "--start", (day.start - timedelta(hours=1)).isoformat(), "--json"]
    assert main(before) == 1
    (found,) = json.loads(capsys.readouterr().out)["datasets"]
    assert [span["state"] for span in found["coverage"]["spans"]] == ["missing", "committed", "pending"]
    # With a settle delay of years nothing is due, before the windows neither.
    assert main([*before, "--settle-delay", str(60 * 24 * 365 * 5)]) == 0


@pytest.mark.integration
def test_coverage_lists_each_dataset_and_fails_for_one(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A root with several datasets has a table for each; one that is incomplete makes the status 1."""
    store = LocalStore(str(destination / "more"))
    commit(store, window(), records_in(window(), 1))
    assert main(["coverage", str(destination), "--json"]) == 0
    assert [one["folder"] for one in json.loads(capsys.readouterr().out)["datasets"]] == ["", "more/"]
    (destination / "more" / "_dataset.json").unlink()
    assert main(["coverage", str(destination)]) == 1
    text = capsys.readouterr().out
    assert "more/: API version v1" in text
    assert "The dataset descriptor more/_dataset.json is missing." in text


def test_coverage_with_gap_returns_1(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the span of what is not committed."""
    commit(LocalStore(str(destination)), window(3), records_in(window(3), 1))
    assert main(["coverage", str(destination), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["datasets"]
    spans = found["coverage"]["spans"]
    assert [span["state"] for span in spans] == ["committed", "empty", "committed", "missing", "committed"]
    assert (spans[3]["start"], spans[3]["end"]) == ("2026-10-27T12:00:00Z", "2026-10-29T00:00:00Z")


def test_coverage_shows_when_verify_last_passed(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verify leaves a record that coverage shows, as text and as JSON; with ``--no-record`` it writes nothing."""
    before = sorted(destination.rglob("*"))
    assert main(["verify", str(destination), "--no-record"]) == 0
    assert sorted(destination.rglob("*")) == before
    assert main(["verify", str(destination)]) == 0
    (written,) = (destination / "_verified").iterdir()
    capsys.readouterr()
    assert main(["coverage", str(destination)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("verify last passed 20")
    assert line.endswith("Z; the newest generation of 3 of 3 windows has a record in _verified/")
    assert main(["coverage", str(destination), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["datasets"]
    assert [(span["window_count"], span["end"]) for span in found["verified"]["spans"]] == [(3, "2026-10-27T12:00:00Z")]
    assert found["verified"]["last_passed_at"] == json.loads(written.read_bytes())["verified_at"]


def test_verify_without_permission_to_write_passes_with_a_message(
    destination: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that refuses the record changes neither the status nor the output, and a message says so."""

    def refuse(*_: object) -> bool:
        raise StorageError("The destination refused.")

    monkeypatch.setattr(LocalStore, "create", refuse)
    assert main(["verify", str(destination), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "The result is not recorded in the destination. The destination refused.\n"
    assert json.loads(printed.out)["findings"] == []


def test_empty_destination_is_not_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error in the destination does not pass as a sound dataset."""
    assert main(["verify", str(tmp_path / "nowhere")]) == 1
    assert "nothing_committed" in capsys.readouterr().out
    assert main(["coverage", str(tmp_path / "nowhere")]) == 1
    assert main(["coverage", str(tmp_path / "nowhere"), "--start", "2026-01-01", "--end", "2026-02-01"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "nosuch://x"], "cannot be opened"),
        (["verify", "x", "--start", "soon"], "--start 'soon' is not a date"),
        (["verify", "x", "--start", "2026-11-02", "--end", "2026-11-01"], "not after its start"),
        (["verify", "x", "--public-key", "/no/such.pem"], "cannot be read"),
        (["seal", "x", "--signing-key", "/no/such.pem"], "cannot be read"),
        (["sweep", "x", "--older-than", "0"], "older_than"),
        (["sweep", "x", "--older-than=-1"], "older_than"),
        (["verify", "x", "--expect-lock", "2020-01-01"], "which is in the past"),
        (["verify", "x", "--expect-lock", "9999-01-01"], "has no Object Lock"),
    ],
)
def test_invalid_argument_returns_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the error to standard error and nothing to standard output."""
    assert main(arguments) == 2
    reported = capsys.readouterr()
    assert reported.out == ""
    assert words in reported.err


def test_wrong_usage_returns_2_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the usage for a missing or unknown argument."""
    odd_words = (
        ["seal", "x", "--day", "noon"],
        ["sweep", "x", "--older-than", "old"],
        ["coverage", "x", "--settle-delay", "short"],
        ["sweep", "x", "--older-than", "1e999"],
    )
    for arguments in ([], ["destroy", "x"], ["verify"], *odd_words):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "usage: airflow-audit-provider" in capsys.readouterr().err


@pytest.mark.integration
def test_damaged_manifest_fails_coverage_and_seal(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Returns 1 for a manifest that cannot be read."""
    manifest = max(destination.glob("_manifests/dt=2026-10-27/*.json"))
    manifest.write_bytes(b"{")
    assert main(["coverage", str(destination)]) == 1
    assert main(["seal", str(destination)]) == 1
    assert "VerificationError" in capsys.readouterr().err


@pytest.fixture
def orphaned_part(destination: Path) -> Path:
    """The staged part of an attempt without a checkpoint."""
    part = destination / "_staging/20261026T000000Z-20261026T120000Z/dead/part-00000"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"12345")
    return part


@pytest.mark.integration
def test_sweep_removes_only_orphaned_files(
    destination: Path, orphaned_part: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints keys and bytes as text or JSON; a dry run removes nothing; committed files verify."""
    key = orphaned_part.relative_to(destination).as_posix()
    assert main(["sweep", str(destination), "--dry-run"]) == 0
    assert capsys.readouterr().out == f"{key}\n1 orphaned file found, none removed; 5 bytes\n"
    assert orphaned_part.exists()
    assert main(["sweep", str(destination), "--json", "--older-than", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "keys": [key],
        "size_bytes": 5,
        "retained": [],
        "kept": [],
        "removed": True,
    }
    assert not orphaned_part.exists()
    assert main(["sweep", str(destination)]) == 0
    assert capsys.readouterr().out == "0 orphaned files removed; 0 bytes\n"
    assert main(["verify", str(destination)]) == 0


@pytest.mark.integration
def test_sweep_removes_erased_parts_of_a_signed_chain_only_with_the_public_key(
    destination: Path, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the key, it keeps them and says what to do; a wrong key is no reason to remove them."""
    private, public = keys
    sealed = ["seal", str(destination), "--signing-key", private]
    assert main(sealed) == 0
    key, parts = forge_erasure(LocalStore(str(destination)), window(1))
    assert main([*sealed, "--accept-replaced", key, "--accepted-by", "Ada"]) == 0
    capsys.readouterr()
    assert main(["sweep", str(destination)]) == 0
    (part,) = parts
    assert capsys.readouterr().out.splitlines() == [
        "0 orphaned files removed; 0 bytes",
        f"{part}  kept",
        f"1 part kept, because {KeptReason.NO_PUBLIC_KEY}",
    ]
    other = destination.parent / "other.pem"
    other.write_text(OTHER_PUBLIC_PEM)
    assert main(["sweep", str(destination), "--public-key", str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == [{"key": part, "reason": KeptReason.UNKNOWN_SEALS}]
    assert main(["sweep", str(destination), "--public-key", str(other), "--public-key", public, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == [part]


@pytest.mark.integration
def test_sweep_keeps_recent_attempts(
    destination: Path, orphaned_part: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keeps an attempt of two hours ago by default, and removes it with a limit of one hour."""
    began_at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    (orphaned_part.parent / "attempt.json").write_text(json.dumps({"window": "w", "began_at": began_at}))
    assert main(["sweep", str(destination), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == []
    assert main(["sweep", str(destination), "--json", "--older-than", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["keys"]) == 2


@pytest.mark.integration
def test_damaged_manifest_stops_the_sweep(
    destination: Path, orphaned_part: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Removes nothing if it is not known what is committed, and returns 1."""
    max(destination.glob("_manifests/dt=2026-10-27/*.json")).write_bytes(b"{")
    assert main(["sweep", str(destination)]) == 1
    assert "VerificationError" in capsys.readouterr().err
    assert orphaned_part.exists()
