"""The script on the page "Check with standard tools" finds every damage to a real sealed dataset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import rfc8785

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.timestamps import HttpTimestamper, TimestampAuthority
from airflow_audit_provider.core.archive.manifest import Erasure, read_manifest
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from tests.docs.blocks import all_blocks
from tests.pipelines.verify.authority import Authority, served
from tests.pipelines.verify.dataset import (
    OTHER_PRIVATE_PEM,
    OTHER_PUBLIC_PEM,
    PRIVATE_PEM,
    PUBLIC_PEM,
    two_days,
    window,
)
from tests.pipelines.verify.forgery import forge_replacement, forge_seal, newest

pytestmark = pytest.mark.integration
ANCHORS = ("--key", "../seal.pub.pem", "--tsa-root", "../tsa-root.pem")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A local copy of a sealed dataset."""
    folder = tmp_path / "copy"
    store = LocalStore(str(folder))
    two_days(store)
    seal(store)
    return folder


def check(copy: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs the page's script from a folder beside the copy, as the page says."""
    (block,) = (
        block
        for block in all_blocks()
        if block.document == "docs/auditors/check-without-this-package.md" and "_seals" in block.code
    )
    folder = copy.parent / "auditor"
    folder.mkdir(exist_ok=True)
    (folder / "check_seals.py").write_text(block.code)
    command = [sys.executable, "-I", "-S", "check_seals.py", str(copy), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_sound_copy_passes(copy: Path) -> None:
    """For an intact copy, the block prints the newest seal's digest with only the standard library."""
    answer = check(copy)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("erased parts []\nintact; newest seal ")
    assert len(answer.stdout.split()[-1]) == 64


def test_a_sealed_part_that_was_replaced_and_is_gone_fails(copy: Path) -> None:
    """The block also reads what a seal covers and no reader reads any more, and names who accepted a replacement."""
    store = LocalStore(str(copy))
    key = forge_replacement(store, window(), keep_old=True)
    seal(store, acceptance=Acceptance(frozenset([key]), "Ada"))
    answer = check(copy)
    assert answer.returncode == 0, answer.stderr
    assert "accepted by Ada" in answer.stdout
    min(copy.glob("dt=2026-10-26/*/part-0001-*")).unlink()
    assert check(copy).returncode != 0


HIDING = "\x1b[2J\n\u202e"


def test_nothing_in_the_copy_hides_a_line_of_the_output(copy: Path) -> None:
    """Names of files and of persons, and keys in a failure, are printed with escapes."""
    store = LocalStore(str(copy))
    key = forge_replacement(store, window(), keep_old=True)
    seal(store, acceptance=Acceptance(frozenset([key]), f"Ada{HIDING}"))
    (copy / f"_manifests/dt=2026-10-26/{HIDING}.json").write_text("{}")
    answer = check(copy)
    assert "accepted by Ada\\x1b[2J\\n\\u202e {" in answer.stdout
    assert "no seal names" in answer.stdout
    named = {"key": f"_manifests/{HIDING}", "sha256": "0" * 64, "record_count": 0}
    forge_seal(store, "_seals/000003.json", key, day="2026-10-26", manifests=[named])
    failed = check(copy)
    assert failed.stderr.startswith("FAILED: _manifests/\\x1b[2J\\n\\u202e is missing")
    assert all(line.isprintable() for line in [*answer.stdout.splitlines(), *failed.stderr.splitlines()])


@pytest.mark.parametrize("pattern", ["_seals/000001.json", "_manifests/*/*.g0001.json", "dt=*/*/*"])
def test_a_changed_or_missing_object_fails(copy: Path, pattern: str) -> None:
    """A missing or changed object of each kind makes the block fail."""
    path = min(copy.glob(pattern))
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b" " + content[-1:])
    assert check(copy).returncode != 0
    path.unlink()
    assert check(copy).returncode != 0


@pytest.mark.parametrize("module", ["json", "hashlib", "argparse", "base64", "subprocess", "tempfile", "pathlib"])
def test_module_in_the_copy_is_not_imported(copy: Path, module: str) -> None:
    """Somebody who can write to the destination cannot replace a part of Python."""
    (copy / f"{module}.py").write_text("print('intact; newest seal', 'f' * 64)\nraise SystemExit(0)\n")
    min(copy.glob("dt=*/*/*")).unlink()
    assert check(copy).returncode != 0


def test_erasure_that_no_seal_names_is_not_believed(copy: Path) -> None:
    """A forged manifest that lists a sealed part as erased does not excuse that it is missing, sealed or not."""
    store = LocalStore(str(copy))
    (part,) = newest(store, window(1)).parts
    key = forge_replacement(store, window(1), keep_old=True)
    manifest = read_manifest(key, (copy / key).read_bytes())
    forged = msgspec.structs.replace(manifest, erased=Erasure("request 17", (part,)))
    (copy / key).write_bytes(forged.to_bytes())
    answer = check(copy)
    assert answer.returncode == 0, answer.stderr
    assert f"no seal names {copy / key}" in answer.stdout
    (copy / part.key).unlink()
    assert check(copy).stderr == f"FAILED: {part.key} is missing\n"
    seal(store, acceptance=Acceptance(frozenset([key]), "Ada"))
    answer = check(copy)
    assert answer.returncode == 0, answer.stderr
    assert f"erased parts ['{part.key}']" in answer.stdout


def test_manifest_that_no_seal_names_counts_for_nothing(copy: Path) -> None:
    """Garbage, or a manifest of missing parts, under the key of a newer generation changes no result."""
    path = min(copy.glob("_manifests/*/*.g0002.json"))
    newer = path.with_name(path.name.replace(".g0002", ".g0009"))
    for content in (b"garbage", path.read_bytes().replace(b"dt=", b"no=")):
        newer.write_bytes(content)
        answer = check(copy)
        assert answer.returncode == 0, answer.stderr
        assert f"no seal names {newer}" in answer.stdout
    min(copy.glob("dt=2026-10-26/*/part-0001-*")).unlink()
    assert check(copy).returncode != 0


def test_part_that_no_sealed_manifest_names_is_listed(copy: Path) -> None:
    """A file among the parts is named, and so is one directly in a partition or in the folders of a lake."""
    part = min(copy.glob("dt=2026-10-26/*/part-0001-*"))
    in_lake = copy / "ext/cf_audit_3002/region=eu-central-1/accountId=external/eventDay=20261026/x.parquet"
    for added in (part.with_name(f"part-0009-00000-{'a' * 16}.jsonl"), part.parents[1] / "data.jsonl", in_lake):
        added.parent.mkdir(parents=True, exist_ok=True)
        added.write_bytes(part.read_bytes())
        answer = check(copy)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.startswith(f"no seal names {added}\nerased parts []\nintact; ")
        added.unlink()


def test_copy_without_seals_fails(copy: Path) -> None:
    """Nothing is called intact if no seal says what there has to be."""
    shutil.rmtree(copy / "_seals")
    assert check(copy).stderr == "FAILED: there is no seal\n"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_odd_file_in_the_copy_is_missing(copy: Path, make: Callable[[Path], object]) -> None:
    """What is no file is not opened, because a pipe would wait for its writer."""
    path = min(copy.glob("dt=*/*/*"))
    path.unlink()
    make(path)
    assert check(copy).stderr == f"FAILED: {path.relative_to(copy)} is missing\n"


def test_key_that_leads_out_of_the_copy_is_not_read(copy: Path) -> None:
    """A forged seal makes the script read nothing beside the copy."""
    (copy.parent / "beside").write_bytes(b"{}")
    path = copy / "_seals" / "000001.json"
    stated = json.loads(path.read_bytes())
    stated["manifests"][0] |= {"key": "../beside", "sha256": hashlib.sha256(b"{}").hexdigest()}
    path.write_bytes(rfc8785.dumps(stated))
    assert check(copy).stderr == "FAILED: ../beside is missing\n"


@pytest.fixture
def stamped(tmp_path: Path) -> Path:
    """A signed and time-stamped dataset; the public key and the authority's certificate are beside it."""
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    folder = tmp_path / "copy"
    store = LocalStore(str(folder))
    two_days(store)
    with served(authority) as url:
        seal(store, signer=Ed25519Signer(PRIVATE_PEM), timestamper=HttpTimestamper(TimestampAuthority(url)))
    (tmp_path / "seal.pub.pem").write_text(PUBLIC_PEM)
    (tmp_path / "tsa-root.pem").write_text(authority.root_pem)
    return folder


def test_signatures_and_time_stamps_are_checked_with_openssl(stamped: Path) -> None:
    """The block passes a sound dataset, prints when each seal existed, and leaves no file behind."""
    before = sorted(stamped.rglob("*"))
    answer = check(stamped, *ANCHORS)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Time stamp: ") == 2
    assert sorted(stamped.rglob("*")) == before


@pytest.mark.parametrize("key", ["000001.sig", "000002.sig", "000001.tsr", "000002.tsr"])
def test_wrong_or_missing_signature_or_time_stamp_fails(stamped: Path, key: str) -> None:
    """Each signature and each time stamp is read, and those of another seal fail."""
    path = stamped / "_seals" / key
    other = path.with_name(("000002" if key.startswith("000001") else "000001") + path.suffix)
    path.write_bytes(other.read_bytes())
    assert check(stamped, *ANCHORS).returncode != 0
    path.unlink()
    assert check(stamped, *ANCHORS).returncode != 0


def test_earlier_key_is_given_beside_the_new_one(stamped: Path) -> None:
    """Each signature needs one of the keys, so that the key can be changed."""
    path = stamped / "_seals" / "000001.sig"
    content = (stamped / "_seals" / "000001.json").read_bytes()
    path.write_bytes(Ed25519Signer(OTHER_PRIVATE_PEM).sign(content).to_bytes())
    (stamped.parent / "other.pem").write_text(OTHER_PUBLIC_PEM)
    answer = check(stamped, *ANCHORS, "--key", "../other.pem")
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["seal.pub.pem", "tsa-root.pem"])
def test_keys_in_the_copy_are_not_used(stamped: Path, name: str) -> None:
    """A key or certificate counts only as an argument: the copy may hold those of a forger."""
    (stamped / name).write_text("garbage")
    answer = check(stamped, *ANCHORS)
    assert answer.returncode == 0, answer.stderr


def test_signature_of_another_key_fails(stamped: Path) -> None:
    """An envelope with the right payload and another key's signature is refused."""
    path = stamped / "_seals" / "000001.sig"
    content = (stamped / "_seals" / "000001.json").read_bytes()
    path.write_bytes(Ed25519Signer(OTHER_PRIVATE_PEM).sign(content).to_bytes())
    assert check(stamped, *ANCHORS).returncode != 0
