"""How a task fails with the provider's errors: what Airflow logs, and what callbacks and policies can read."""

from __future__ import annotations

import logging
import pickle
import traceback
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider._airflow.task_errors import TROUBLESHOOTING, translate_task_errors
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceAuthError,
    SourceUnavailableError,
    StorageError,
)
from tests.architecture.source_files import PROJECT

REFUSED = SourceAuthError("The token is refused. Create a new one.", status=403, ray_id="8f2a", window="2026-11-23")


def _raised(error: AuditProviderError, task: object = None) -> BaseException:
    """Returns what a task fails with if this error, caused by a failure of the network, ends it."""
    with pytest.raises((AirflowFailException, AuditProviderError)) as caught:
        _fail(error, task)
    return caught.value


def _fail(error: AuditProviderError, task: object) -> None:
    with translate_task_errors(task):
        try:
            raise OSError("connection reset")
        except OSError as cause:
            raise error from cause


def test_task_error_begins_with_the_sentence_and_ends_with_a_link() -> None:
    """The log shows the message, then the facts for a support case, then where to read more."""
    assert str(_raised(REFUSED)).splitlines() == [
        "The token is refused.",
        "Create a new one.",
        "[status 403; ray 8f2a; window 2026-11-23]",
        f"SourceAuthError: {TROUBLESHOOTING}#sourceautherror",
    ]


def test_task_error_breaks_no_command() -> None:
    """Each sentence is a line of its own, because Airflow's log page wraps no line, and no sentence is broken."""
    message = "Version 1.0. of s3fs (e.g. 2026.1) is missing! Run: pip install 's3fs >= 1. 2'. Then clear the task."
    assert str(_raised(StorageError(message))).splitlines()[:-1] == [
        "Version 1.0. of s3fs (e.g. 2026.1) is missing!",
        "Run: pip install 's3fs >= 1. 2'.",
        "Then clear the task.",
    ]


@pytest.mark.parametrize("error", [REFUSED, SourceUnavailableError("Try again.")], ids=["permanent", "retried"])
@pytest.mark.parametrize("task", [None, SimpleNamespace(retry_policy=object())], ids=["plain", "policy"])
def test_task_error_is_logged_without_the_stack_of_its_cause(error: AuditProviderError, task: object) -> None:
    """Python, and Airflow's log as it follows the same rules, prints one stack: that of the task."""
    text = "".join(traceback.format_exception(_raised(error, task)))
    assert text.count("Traceback") == 1
    assert "connection reset" not in text


def test_task_error_keeps_its_cause_for_callbacks() -> None:
    """A callback finds the provider's error, and in it what caused it."""
    error = _raised(SourceAuthError("No.")).__context__
    assert isinstance(error, SourceAuthError)
    assert isinstance(error.__cause__, OSError)


def test_task_error_shows_its_stack_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    """The debug level of the log has the stack of the cause."""
    with caplog.at_level(logging.DEBUG, logger="airflow_audit_provider._airflow.task_errors"):
        _raised(SourceUnavailableError("Try again."))
    assert "OSError: connection reset" in caplog.text


def test_retried_error_survives_pickling_with_its_link() -> None:
    """An error that crosses a process boundary is printed there as here."""
    error = _raised(SourceUnavailableError("Try again.", status=503))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_link_leads_to_the_documentation_of_the_project() -> None:
    """The address is below the one that pyproject.toml publishes, and the page has a heading for each class."""
    published = TROUBLESHOOTING.removesuffix("/troubleshooting.md")
    assert f'Documentation = "{published}"\n' in (PROJECT / "pyproject.toml").read_text("utf-8")
