"""Tests that the operators verify and seal through Airflow's storage and connections."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    StorageError,
    TimestampUnavailableError,
    VerificationError,
)
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from tests.operators.task_setup import END, START, TaskSetup
from tests.pipelines.verify.authority import Authority, served
from tests.pipelines.verify.dataset import OTHER_PRIVATE_PEM, OTHER_PUBLIC_PEM, PRIVATE_PEM, PUBLIC_PEM


def _verify(task_setup: TaskSetup, **arguments: Any) -> dict[str, Any]:
    given = {"task_id": "verify", "destination": f"file://{task_setup.destination}", **arguments}
    return CloudflareAuditLogsVerifyOperator(**given).execute({})


def _seal(task_setup: TaskSetup, **arguments: Any) -> dict[str, Any]:
    given = {"task_id": "seal", "destination": f"file://{task_setup.destination}", **arguments}
    return CloudflareAuditLogsSealOperator(**given).execute({})


def _cause(caught: pytest.ExceptionInfo[AirflowFailException]) -> BaseException | None:
    return caught.value.__context__


@pytest.fixture
def landed(task_setup: TaskSetup) -> TaskSetup:
    """One landed day, and a connection with a signing key as its password."""
    task_setup.land()
    task_setup.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    return task_setup


@pytest.mark.integration
@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_landed_dataset_has_no_findings(task_setup: TaskSetup, file_format: str) -> None:
    """Every format agrees with its manifest, record by record."""
    task_setup.land(file_format=file_format)
    counts = _verify(task_setup)
    assert counts == {
        "window_count": 1,
        "part_count": 1,
        "record_count": 300,
        "seal_count": 0,
        "severe_count": 0,
        "mild_count": 0,
        "newest_seal_sha256": None,
    }


def test_signed_day_verifies_with_digest_from_xcom(landed: TaskSetup) -> None:
    """Verifies with the newest seal's digest from the sealing task's XCom."""
    sealed = _seal(landed, signing_conn_id="sealing")
    assert [made["day"] for made in sealed["created"]] == ["2026-10-26"]
    assert sealed["signed_count"] == 1
    counts = _verify(landed, public_key=PUBLIC_PEM, expected_seal_sha256=sealed["newest_seal_sha256"])
    assert (counts["seal_count"], counts["severe_count"], counts["mild_count"]) == (1, 0, 0)
    assert counts["newest_seal_sha256"] == sealed["newest_seal_sha256"]


@pytest.mark.parametrize(
    ("expect_lock", "message"),
    [("2020-01-01", "expect_lock is .*, which is in the past"), ("9999-01-01", "has no Object Lock")],
)
def test_lock_that_cannot_be_checked_is_an_error(landed: TaskSetup, expect_lock: str, message: str) -> None:
    """A date in the past, and a destination on local files, fail without retries; an empty template checks nothing."""
    with pytest.raises(AirflowFailException, match=message) as caught:
        _verify(landed, expect_lock=expect_lock)
    assert isinstance(_cause(caught), ConfigurationError)
    assert "locked_count" not in _verify(landed, expect_lock="")


@pytest.mark.integration
def test_pass_is_recorded_unless_told_otherwise(landed: TaskSetup) -> None:
    """Verify leaves one object below ``_verified/``; with ``record_pass=False`` it writes nothing."""
    before = landed.tree()
    _verify(landed, record_pass=False)
    assert landed.tree() == before
    _verify(landed)
    (written,) = landed.tree().keys() - before.keys()
    assert str(written).startswith("_verified/")


def test_pass_is_no_failure_where_it_cannot_be_recorded(
    landed: TaskSetup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An auditor without permission to write gets the counts, and a warning in the task's log."""

    def refuse(*_: object) -> bool:
        raise StorageError("The destination refused.")

    monkeypatch.setattr(LocalStore, "create", refuse)
    assert _verify(landed)["severe_count"] == 0
    assert "keeps no record of it. The destination refused." in capsys.readouterr().out


def test_sealing_twice_changes_nothing(landed: TaskSetup) -> None:
    """Creates no seal and no signature, and reports the same newest digest."""
    first = _seal(landed, signing_conn_id="sealing")
    before = landed.tree()
    assert _seal(landed, signing_conn_id="sealing") == {**first, "created": [], "signed_count": 0}
    assert landed.tree() == before


SUMMER_IN_BERLIN = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 10, 26),
        "2026-10-26",
        "2026-10-26T23:59:59Z",
        datetime(2026, 10, 27, 1, tzinfo=SUMMER_IN_BERLIN),
    ],
)
def test_day_argument_gives_utc_date(landed: TaskSetup, day: Any) -> None:
    """A date, its text, or an instant in any time zone gives the UTC date."""
    assert [made["day"] for made in _seal(landed, day=day)["created"]] == ["2026-10-26"]


def test_chain_without_the_digest_of_the_run_before_is_not_sealed(landed: TaskSetup) -> None:
    """Seals without a digest in the first run, with that of the run before afterwards; a chain begun anew fails."""
    first = _seal(landed, signing_conn_id="sealing", expected_seal_sha256="")
    kept = first["newest_seal_sha256"]
    assert _seal(landed, signing_conn_id="sealing", expected_seal_sha256=kept)["newest_seal_sha256"] == kept
    for path in (landed.destination / "_seals").iterdir():
        path.unlink()
    with pytest.raises(AirflowFailException, match=f"expected digest {kept}") as caught:
        _seal(landed, signing_conn_id="sealing", expected_seal_sha256=kept)
    assert isinstance(_cause(caught), VerificationError)
    assert not list((landed.destination / "_seals").iterdir())


def test_day_without_window_gets_no_seal(landed: TaskSetup) -> None:
    """A day without a window gets no seal."""
    assert _seal(landed, day="2026-10-27")["created"] == []


@pytest.mark.integration
def test_signing_key_in_extra_is_used(landed: TaskSetup) -> None:
    """Uses the extra's signing_key, also on one line with escaped line breaks."""
    for number, pem in enumerate([PRIVATE_PEM, PRIVATE_PEM.replace("\n", "\\n")]):
        landed.connect(f"extra{number}", conn_type="generic", password="", extra={"signing_key": pem})
        assert _seal(landed, signing_conn_id=f"extra{number}")["signed_count"] == (1 - number)


@pytest.mark.parametrize("flaw", ["flipped", "removed", "added"])
def test_damaged_part_fails_the_task_permanently(landed: TaskSetup, flaw: str) -> None:
    """Raises ``VerificationError`` with kind, key and remedy of a severe finding."""
    part = landed.destination / landed.part_names()[0]
    if flaw == "flipped":
        part.write_bytes(part.read_bytes()[:-5] + b"x" + part.read_bytes()[-4:])
    elif flaw == "removed":
        part.unlink()
    else:
        part.with_name("part-0001-00009-0000000000000000.jsonl").write_bytes(b"{}")
    with pytest.raises(AirflowFailException, match=r"1 severe finding.*dt=2026-10-26") as caught:
        _verify(landed)
    assert isinstance(_cause(caught), VerificationError)


def test_error_names_an_object_without_control_characters(landed: TaskSetup) -> None:
    """A line break or an escape sequence in a name is an escape in the error, so that it hides nothing in a log."""
    (landed.destination / "dt=2026-10-26/x\n\x1b[2J").write_bytes(b"")
    with pytest.raises(AirflowFailException, match=r"object_unexpected at dt=2026-10-26/x\\n\\x1b\[2J: ") as caught:
        _verify(landed)
    *sentences, link = str(caught.value).split("\n")
    assert all(sentence.isprintable() for sentence in sentences)
    assert link.startswith("VerificationError: https://")


@pytest.mark.integration
def test_signature_of_unknown_key_is_severe(landed: TaskSetup) -> None:
    """A signature by an unknown key is a severe finding."""
    _seal(landed, signing_conn_id="sealing")
    other = (
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"
    )
    with pytest.raises(AirflowFailException, match="signature_invalid"):
        _verify(landed, public_key=other)
    assert _verify(landed, public_key=other + PUBLIC_PEM)["severe_count"] == 0


def test_range_excludes_its_end(landed: TaskSetup) -> None:
    """Excludes a window that starts at the end of the range, and includes it one instant later."""
    with pytest.raises(AirflowFailException, match="nothing_committed"):
        _verify(landed, end=START)
    assert _verify(landed, end=START + timedelta(microseconds=1))["window_count"] == 1
    with pytest.raises(AirflowFailException, match="nothing_committed"):
        _verify(landed, start=END.isoformat())


@pytest.mark.integration
def test_seals_are_time_stamped_by_the_authority_of_a_connection(landed: TaskSetup, tmp_path: Path) -> None:
    """The connection has the authority's URL and certificate; verification proves the time and takes a limit."""
    authority = Authority(tmp_path)
    with served(authority) as url:
        extra = {"tsa_certificate": authority.root_pem}
        landed.connect("stamps", conn_type="generic", host=url, extra=extra)
        done = _seal(landed, signing_conn_id="sealing", timestamp_conn_id="stamps")
        assert (done["signed_count"], done["timestamped_count"]) == (1, 1)
        again = _seal(landed, signing_conn_id="sealing", timestamp_conn_id="stamps")
    assert again["timestamped_count"] == 0
    given = {"public_key": PUBLIC_PEM, "tsa_certificate": authority.root_pem}
    assert _verify(landed, **given, sealed_within=timedelta(days=36500))["severe_count"] == 0
    with pytest.raises(AirflowFailException, match="sealed_late"):
        _verify(landed, **given, sealed_within=timedelta(hours=1))


@pytest.mark.integration
def test_authority_that_does_not_respond_is_retried(landed: TaskSetup, tmp_path: Path) -> None:
    """Raises the error as it is, so that Airflow retries; an unknown connection fails at once."""
    with served(Authority(tmp_path)) as url:
        pass
    landed.connect(
        "stamps", conn_type="http", host="127.0.0.1", schema="http", port=int(url.split(":")[2][:-4]), extra={}
    )
    with pytest.raises(TimestampUnavailableError):
        _seal(landed, timestamp_conn_id="stamps")
    assert "_seals/000001.json" in landed.tree()
    with pytest.raises(AirflowFailException, match="time stamp authority as its host"):
        _seal(landed, timestamp_conn_id="nothing")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"signing_conn_id": "nowhere"}, "Connection 'nowhere' does not exist"),
        ({"signing_conn_id": "cloudflare_default"}, "signing key cannot be read"),
        ({"day": "yesterday"}, "day 'yesterday'"),
        ({"day": START.replace(tzinfo=None)}, "has no time zone"),
        ({"destination": "relative"}, "names neither a bucket nor"),
        ({"destination": "nosuch://x/y"}, "cannot be opened"),
    ],
)  # fmt: skip
def test_invalid_seal_argument_or_connection_fails(landed: TaskSetup, arguments: dict[str, Any], words: str) -> None:
    """Raises ``ConfigurationError`` without a secret, and writes nothing."""
    before = landed.tree()
    with pytest.raises(AirflowFailException, match=words) as caught:
        _seal(landed, **arguments)
    assert isinstance(_cause(caught), ConfigurationError)
    assert "fake-token" not in str(caught.value)
    assert landed.tree() == before


def test_damaged_manifest_is_not_sealed(landed: TaskSetup) -> None:
    """Fails, because a seal would make the damage look verified."""
    manifest = next(name for name in landed.tree() if name.startswith("_manifests/"))
    (landed.destination / manifest).write_bytes(b"{}")
    with pytest.raises(AirflowFailException, match="was not sealed") as caught:
        _seal(landed)
    assert isinstance(_cause(caught), VerificationError)


@pytest.mark.integration
def test_replaced_window_is_sealed_once_it_is_accepted(landed: TaskSetup) -> None:
    """Fails and names the key to accept; records who accepted it; an erasure is listed in the summary of its day."""
    _seal(landed, signing_conn_id="sealing")
    landed.land(replace=True, erase=True, erase_reason="request 17")
    with pytest.raises(AirflowFailException, match="replacement_not_accepted at _manifests/") as caught:
        _seal(landed, signing_conn_id="sealing")
    assert isinstance(_cause(caught), VerificationError)
    key = next(name for name in landed.tree() if ".g0002." in name)
    done = _seal(landed, signing_conn_id="sealing", accept_replaced=[key], accepted_by="Ada")
    ((accepted,),) = [made["replacements"] for made in done["created"]]
    assert (accepted["key"], accepted["accepted_by"], accepted["changed_count"]) == (key, "Ada", None)
    assert _verify(landed)["severe_count"] == 0
    assert len(landed.part_names()) == 1


@pytest.mark.integration
def test_landing_removes_an_erased_part_only_with_the_public_key(
    landed: TaskSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the key, the task keeps the part and warns; an empty template is no key, and a wrong text is an error."""
    _seal(landed, signing_conn_id="sealing")
    (part,) = landed.part_names()
    content = (landed.destination / part).read_bytes()
    landed.land(replace=True, erase=True, erase_reason="request 17")
    key = next(name for name in landed.tree() if ".g0002." in name)
    _seal(landed, signing_conn_id="sealing", accept_replaced=[key], accepted_by="Ada")
    (landed.destination / part).write_bytes(content)
    landed.land(public_key="")
    assert "Kept 1 part of " in (out := capsys.readouterr().out)
    assert "give the public key" in out
    with pytest.raises(AirflowFailException, match="not in PEM format"):
        landed.land(public_key="none")
    assert part in landed.part_names()
    landed.land(public_key=PUBLIC_PEM)
    assert part not in landed.part_names()


def test_late_record_after_a_change_of_keys_needs_the_earlier_public_key(landed: TaskSetup) -> None:
    """A day that another key signed is sealed further only with ``public_key``."""
    landed.connect("other", conn_type="generic", password=OTHER_PRIVATE_PEM, extra={})
    _seal(landed, signing_conn_id="other")
    landed.land(replace=True)
    key = next(name for name in landed.tree() if ".g0002." in name)
    arguments = {"signing_conn_id": "sealing", "accept_replaced": [key], "accepted_by": "Ada"}
    with pytest.raises(AirflowFailException, match="signature_invalid"):
        _seal(landed, **arguments)
    assert len(_seal(landed, public_key=OTHER_PUBLIC_PEM, **arguments)["created"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"accept_replaced": "_manifests/x"}, "Give a list"),
        ({"accept_replaced": ["_manifests/x"], "accepted_by": "Ada"}, "not a manifest of the destination"),
        ({"accept_replaced": ["_manifests/x"]}, "without accepted_by"),
        ({"accept_replaced": ["_manifests/x"], "accepted_by": " "}, "without accepted_by"),
    ],
)
def test_acceptance_without_a_name_or_a_manifest_fails(
    landed: TaskSetup, arguments: dict[str, Any], words: str
) -> None:
    """Raises ``ConfigurationError`` and writes nothing."""
    before = landed.tree()
    with pytest.raises((AirflowFailException, ConfigurationError), match=words):
        _seal(landed, **arguments)
    assert landed.tree() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"erase": True, "erase_reason": "request 17"},
        {"erase": True, "replace": True},
        {"erase": True, "replace": True, "erase_reason": " "},
        {"replace": True, "erase_reason": "request 17"},
    ],
)
def test_erasure_without_replacement_or_reason_fails(task_setup: TaskSetup, arguments: dict[str, Any]) -> None:
    """Raises ``ConfigurationError`` when the DAG is parsed; nothing is requested or written."""
    with pytest.raises(ConfigurationError, match="erase"):
        task_setup.land(**arguments)
    assert task_setup.fake.requests == []
    assert task_setup.tree() == {}


def test_unreadable_seal_gets_no_successor(landed: TaskSetup) -> None:
    """Fails without retries and names the seal; writes nothing."""
    _seal(landed)
    (landed.destination / "_seals" / "000001.json").write_bytes(b"{}")
    before = landed.tree()
    with pytest.raises(AirflowFailException, match=r"seal_unreadable at _seals/000001.json") as caught:
        _seal(landed)
    assert isinstance(_cause(caught), VerificationError)
    assert landed.tree() == before


def test_seal_task_that_finds_a_garbage_signature_fails_until_it_is_moved(landed: TaskSetup) -> None:
    """The task fails without retries and names the object, because it cannot write the right one in its place."""
    garbage = landed.destination / "_seals/000001.sig"
    _seal(landed)
    garbage.write_bytes(b"x")
    with pytest.raises(AirflowFailException, match=r"signature_invalid at _seals/000001.sig") as caught:
        _seal(landed, signing_conn_id="sealing")
    assert isinstance(_cause(caught), VerificationError)
    garbage.unlink()
    assert _seal(landed, signing_conn_id="sealing")["signed_count"] == 1


def test_destination_days_and_keys_are_templated() -> None:
    """Every argument that differs between runs can be a template."""
    fields = set(CloudflareAuditLogsVerifyOperator.template_fields) | set(
        CloudflareAuditLogsSealOperator.template_fields
    )
    assert fields >= {"destination", "start", "end", "day", "public_key", "signing_conn_id", "expected_seal_sha256"}
    assert "expect_lock" in fields
    assert "expected_seal_sha256" in CloudflareAuditLogsSealOperator.template_fields
    assert "public_key" in CloudflareAuditLogsToObjectStorageOperator.template_fields
