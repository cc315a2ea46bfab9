"""Tests of the connection: which fields it accepts, which it rejects, and that no secret leaks."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook, Connection

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    SourceAuthError,
    SourceProtocolError,
    SourceUnavailableError,
)
from airflow_audit_provider.get_provider_info import get_provider_info
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, ORGANIZATION_ID, TOKEN, TokenKind
from tests.operators.task_setup import WINDOW, TaskSetup

BASE = "https://api.cloudflare.com/client/v4"
EMAIL = "owner@example.com"
SINCE: dict[str, Any] = {"since": "2026-10-26", "before": "2026-10-27"}


def _declared() -> dict[str, Any]:
    declared: Any = get_provider_info()
    found: dict[str, Any] = declared["connection-types"][0]
    return found


class _Field:
    """Stands in for a wtforms field and keeps its label."""

    def __init__(self, label: str, **options: Any) -> None:
        self.label, self.options = label, options


def test_both_forms_show_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widgets of older Airflows and the declared form of newer ones name the same extras, labels and types."""
    forms = ModuleType("wtforms")
    monkeypatch.setattr(forms, "StringField", type("StringField", (_Field,), {}), raising=False)
    monkeypatch.setattr(forms, "IntegerField", type("IntegerField", (_Field,), {}), raising=False)
    monkeypatch.setitem(sys.modules, "wtforms", forms)
    widgets = CloudflareHook.get_connection_form_widgets()
    fields = _declared()["conn-fields"]
    assert {name: widget.label for name, widget in widgets.items()} == {n: f["label"] for n, f in fields.items()}
    integers = {name for name, widget in widgets.items() if type(widget).__name__ == "IntegerField"}
    assert integers == {name for name, field in fields.items() if "integer" in field["schema"]["type"]}
    descriptions = {name: widget.options["description"] for name, widget in widgets.items()}
    assert all(descriptions.values())
    assert not [text for text in descriptions.values() if set("[]*`") & set(text)]
    assert descriptions["proxy"].startswith("For example http://user:password@proxy.example.com:3128. If empty")
    assert "Where to find it: https://developers.cloudflare.com/" in descriptions["account_id"]


def test_form_is_grouped() -> None:
    """Every field of the declared form is in one of three sections, and explains itself."""
    fields = _declared()["conn-fields"]
    assert {field["schema"]["section"] for field in fields.values()} == {"Scope", "Limits", "Network"}
    # Airflow shows ``description_md`` only where there is no plain description.
    assert not [name for name, field in fields.items() if "description" in field]
    assert all(field["schema"]["description_md"] for field in fields.values())


def test_hook_accepts_every_field_of_the_form(task_setup: TaskSetup) -> None:
    """The hook accepts every field of the form under the same name."""
    values: dict[str, Any] = dict.fromkeys(_declared()["conn-fields"], 7)
    task_setup.connect(extra={**values, "account_id": ACCOUNT_ID, "organization_id": "org"})
    assert task_setup.hook().settings.account_id == ACCOUNT_ID


def test_proxy_and_certificates_of_the_extra_reach_the_client(task_setup: TaskSetup) -> None:
    """Both extras are part of the endpoint; a proxy's password is in no text of the settings."""
    task_setup.connect(extra={"proxy": " http://user:hidden@proxy.example.com:3128 ", "ca_bundle": "/no/such/ca.pem"})
    settings = task_setup.hook().settings
    assert settings.endpoint.proxy == "http://user:hidden@proxy.example.com:3128"
    assert "hidden" not in repr(settings)
    with pytest.raises(ConfigurationError, match=r"/no/such/ca\.pem"):
        CloudflareHook().get_conn()
    passed, sentence = CloudflareHook().test_connection()
    assert (passed, "/no/such/ca.pem" in sentence) == (False, True)
    task_setup.connect(extra={"proxy": "ftp://proxy.example.com"})
    assert "is not a URL of a proxy" in CloudflareHook().test_connection()[1]


def test_response_larger_than_the_extra_allows_is_retried(task_setup: TaskSetup) -> None:
    """``max_response_bytes`` of the connection is the limit, blocking and not."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_response_bytes": 1000, "max_attempts": 2})
    with pytest.raises(SourceUnavailableError, match="more than 1000 bytes"):
        list(task_setup.hook().iter_audit_logs(**SINCE))
    with pytest.raises(SourceUnavailableError, match="more than 1000 bytes"):
        asyncio.run(_first_of(task_setup.hook()))


async def _first_of(hook: CloudflareHook) -> dict[str, Any]:
    return await anext(hook.aiter_audit_logs(**SINCE))


@pytest.mark.parametrize("name", ["verify", "insecure", "verify_ssl", "ssl_verify", "tls_verify"])
def test_no_extra_turns_verification_off(task_setup: TaskSetup, name: str) -> None:
    """Such a switch is an unknown field."""
    task_setup.connect(extra={name: False})
    with pytest.raises(ConfigurationError, match=name):
        _ = task_setup.hook().settings


def test_standard_fields_are_renamed_alike() -> None:
    """Both forms hide and rename the standard fields in the same way."""
    old, new = CloudflareHook.get_ui_field_behaviour(), _declared()["ui-field-behaviour"]
    assert old["relabeling"] == new["relabeling"]
    assert old["placeholders"] == new["placeholders"]
    assert set(new["hidden-fields"]) <= set(old["hidden_fields"])
    assert "password" in new["relabeling"]


def test_connection_sends_either_token_or_key(task_setup: TaskSetup) -> None:
    """Sends a bearer token for a password alone, and only the Global API Key with an e-mail."""
    assert task_setup.hook().get_conn().headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-auth-key" not in task_setup.hook().get_conn().headers
    task_setup.connect(login=EMAIL, password="a-global-key")
    headers = task_setup.hook().get_conn().headers
    assert (headers["x-auth-email"], headers["x-auth-key"]) == (EMAIL, "a-global-key")
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"acount_id": ACCOUNT_ID}, "acount_id.*Did you mean 'account_id'"),
        ({"verify": False}, "verify.*Known extras"),
        ({"timeout_seconds": "soon"}, "timeout_seconds.*positive number"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"max_attempts": 1.5}, "max_attempts.*whole number"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"rate_limit_requests": "nan"}, "rate_limit_requests"),
    ],
)
def test_invalid_extra_is_rejected_with_hint(task_setup: TaskSetup, extra: dict[str, Any], words: str) -> None:
    """Rejects an unknown extra, or an invalid number in a known one, with a hint."""
    task_setup.connect(extra=extra)
    with pytest.raises(ConfigurationError, match=words):
        _ = task_setup.hook().settings


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, BASE),
        ({"host": ""}, BASE),
        ({"host": "https://gateway.example.com/cf/v4/"}, "https://gateway.example.com/cf/v4"),
        ({"host": "gateway.example.com"}, "https://gateway.example.com/client/v4"),
        ({"host": "gateway.example.com", "port": 8443}, "https://gateway.example.com:8443/client/v4"),
        ({"host": "gateway.example.com/cf/v4"}, "https://gateway.example.com/cf/v4"),
        ({"host": "http://127.0.0.1:8080/client/v4"}, "http://127.0.0.1:8080/client/v4"),
        ({"host": "http://localhost:8080/client/v4"}, "http://localhost:8080/client/v4"),
        ({"port": 443}, BASE),
        ({"host": "https://gateway.example.com/v4", "port": 443}, "https://gateway.example.com/v4"),
        ({"host": "http://127.0.0.1:8080/client/v4", "port": 8080}, "http://127.0.0.1:8080/client/v4"),
    ],
)
def test_host_forms_give_base_url(task_setup: TaskSetup, fields: dict[str, Any], url: str) -> None:
    """Accepts an empty host, a full URL, and a bare name with or without a port."""
    task_setup.connect(**fields)
    assert str(task_setup.hook().get_conn().base_url).rstrip("/") == url


@pytest.mark.parametrize("fields", [{}, {"host": BASE}, {"host": "http://127.0.0.1:8080/v4"}, {"host": "http://x:a/"}])
def test_port_that_contradicts_url_is_rejected(task_setup: TaskSetup, fields: dict[str, Any]) -> None:
    """Rejects a port other than the URL's instead of ignoring it."""
    task_setup.connect(**fields, port=8443)
    with pytest.raises(ConfigurationError, match="another port, 8443"):
        task_setup.hook().get_conn()


@pytest.mark.parametrize(
    "host",
    ["http://api.cloudflare.com/client/v4", "http://10.0.0.1/v4", "ftp://x.example.com", "https://me:pw@x.example.com"],
)
def test_unsafe_host_is_rejected(task_setup: TaskSetup, host: str) -> None:
    """Accepts plain http on loopback only, and no credential in a URL."""
    task_setup.connect(host=host)
    with pytest.raises(ConfigurationError, match="https") as caught:
        task_setup.hook().get_conn()
    assert "me:pw" not in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["abc\ndef-hidden", "abc\r\nX-Evil: hidden", "tok hidden", "tök-hidden", "a\x00hidden"]
)
def test_malformed_credential_is_rejected_without_its_text(task_setup: TaskSetup, secret: str) -> None:
    """Rejects a credential that no header can hold, without showing it."""
    for login in (None, EMAIL):
        task_setup.connect(password=secret, login=login)
        with pytest.raises(ConfigurationError, match="Enter it again") as caught:
            task_setup.hook().get_conn()
        assert "hidden" not in _everything(caught.value)


@pytest.mark.parametrize(
    "prefix", ["Bearer ", "bearer\t", "BEARER: ", "Authorization: Bearer ", '"Authorization: Bearer ']
)
def test_password_with_bearer_is_refused_with_what_to_enter(task_setup: TaskSetup, prefix: str) -> None:
    """A password that begins with `Bearer` is an error that names the problem without the token."""
    task_setup.connect(password=f"{prefix}hidden-0123456789")
    with pytest.raises(ConfigurationError, match=r"begins with 'Bearer'.*the API token alone") as caught:
        _ = task_setup.hook().settings
    assert "hidden" not in _everything(caught.value)


@pytest.mark.parametrize("token", ["bearer-token-0123456789", "Bearertoken"])
def test_token_whose_own_text_begins_with_bearer_is_accepted(task_setup: TaskSetup, token: str) -> None:
    """Only the word on its own is refused."""
    task_setup.connect(password=token)
    assert task_setup.hook().get_conn().headers["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize("extra", ["[1]", '["a"]', '"text"', "7", "true"])
def test_extra_that_is_no_object_is_named(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    """An extra that is not a JSON object is an error, also in the connection test."""
    connection = Connection(conn_id="odd", conn_type="cloudflare", password=TOKEN, extra="{}")
    connection.__dict__["extra"] = extra
    monkeypatch.setattr(CloudflareHook, "get_connection", Mock(return_value=connection))
    with pytest.raises(ConfigurationError, match=r"extra of connection 'odd'.*object"):
        _ = CloudflareHook("odd").settings
    passed, sentence = CloudflareHook("odd").test_connection()
    assert not passed
    assert "extra" in sentence


def test_missing_password_names_the_remedy(task_setup: TaskSetup) -> None:
    """The error states where to enter the token."""
    task_setup.connect(password="")
    with pytest.raises(ConfigurationError, match="API token"):
        task_setup.hook().get_conn()


def _everything(error: BaseException) -> str:
    """Returns all text that an error can show: message, repr, and the traceback with its causes."""
    return str(error) + repr(error) + "".join(traceback.format_exception(error))


FAULTS = ["status=401", "status=403", "status=404", "html=200", "truncated_json", "redirect", "no_answer", "status=500"]


@pytest.mark.integration
@pytest.mark.parametrize("spec", FAULTS)
@pytest.mark.parametrize("login", [None, EMAIL])
def test_no_error_and_no_log_shows_the_secret(
    spec: str,
    login: str | None,
    task_setup: TaskSetup,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever way a pull over a real socket fails, no message, cause or log record has the secret."""
    secret = task_setup.fake.settings.auth_key if login else TOKEN
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    task_setup.misbehave(spec)
    with FakeServer(task_setup.fake) as server:
        extra = {"account_id": ACCOUNT_ID, "max_attempts": 1}
        task_setup.connect(host=server.base_url, login=login, password=secret, extra=extra)
        operator = task_setup.operator(**WINDOW)
        operator.hook = CloudflareHook(clock=task_setup.clock)
        with pytest.raises(Exception, match=r".") as caught:
            operator.execute({})
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    shown = _everything(caught.value) + caplog.text + str([vars(record) for record in caplog.records])
    shown += repr(operator.hook.settings) + str(operator.hook.settings) + "".join(capsys.readouterr())
    assert secret not in shown
    assert isinstance(caught.value, AuditProviderError) or isinstance(caught.value.__context__, AuditProviderError)


def test_the_summary_holds_no_secret(task_setup: TaskSetup) -> None:
    """Neither the XCom nor any landed file has the credential."""
    assert TOKEN not in str(task_setup.land())
    assert not [name for name, (content, _) in task_setup.tree().items() if TOKEN.encode() in content]


def _redirector(target: str) -> ThreadingHTTPServer:
    """Starts a server that redirects every request to another one in plain http."""

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", target + self.path)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.integration
def test_redirect_is_an_error_and_not_followed(task_setup: TaskSetup) -> None:
    """Raises an error with a remedy, and sends no request to the other server."""
    with FakeServer(task_setup.fake) as elsewhere, _redirector(f"http://localhost:{elsewhere.port}") as server:
        task_setup.connect(host=f"http://127.0.0.1:{server.server_port}/client/v4")
        hook = CloudflareHook(clock=task_setup.clock)
        with pytest.raises(SourceProtocolError, match="redirect"):
            list(hook.iter_audit_logs(since="2026-10-26", before="2026-10-27"))
        answer = hook.get_conn().get(f"accounts/{ACCOUNT_ID}/audit_logs")
        assert (answer.status_code, answer.has_redirect_location) == (302, True)
        assert task_setup.fake.requests == []
        assert httpx.get(str(answer.next_request and answer.next_request.url)).status_code == 401
        server.shutdown()
    assert len(task_setup.fake.requests) == 1


@pytest.mark.parametrize(
    ("kind", "extra", "good", "words"),
    [
        (TokenKind.VALID, {"account_id": ACCOUNT_ID}, True, "may read"),
        (TokenKind.ACCOUNT, {"account_id": ACCOUNT_ID}, True, "may read"),
        (TokenKind.INVALID, {"account_id": ACCOUNT_ID}, False, "not valid"),
        (None, {"account_id": ACCOUNT_ID}, False, "not valid"),
        (TokenKind.NO_PERMISSION, {"account_id": ACCOUNT_ID}, False, "Account Settings: Read"),
        (TokenKind.VALID, {}, False, "account_id"),
        (TokenKind.VALID, {"account_id": "f" * 32}, False, "may not read the audit log of account ffff"),
    ],
)
def test_connection_check_names_what_is_missing(
    kind: TokenKind | None,
    extra: dict[str, str],
    good: bool,
    words: str,
    task_setup: TaskSetup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reports a bad token, a missing permission and a missing id separately."""
    secret = "another-token-0123456789abcdefghijklmn"
    tokens = {} if kind is None else {secret: kind}
    other = TaskSetup(monkeypatch, task_setup.destination, tokens=tokens)
    other.connect(password=secret, extra=extra)
    passed, sentence = other.hook().test_connection()
    assert (passed, words in sentence) == (good, True), sentence
    assert secret not in sentence


@pytest.mark.integration
def test_connection_with_only_an_organization_is_tested_and_read(task_setup: TaskSetup) -> None:
    """Neither scope nor version has to be given: the organization's log is read, with version 2."""
    task_setup.connect(extra={"organization_id": ORGANIZATION_ID})
    passed, sentence = task_setup.hook().test_connection()
    assert passed, sentence
    assert f"organization {ORGANIZATION_ID}" in sentence
    truth = task_setup.ids("v2", f"organizations/{ORGANIZATION_ID}")
    assert truth
    assert [record["id"] for record in task_setup.hook().iter_audit_logs(**SINCE, direction="asc")] == truth
    assert task_setup.land()["record_count"] == len(truth)
    assert task_setup.sensor(minimum_count=len(truth)).poke({}).is_done


@pytest.mark.parametrize("kind", [TokenKind.ACCOUNT, TokenKind.VALID])
def test_organization_is_readable_although_the_token_check_does_not_know_the_token(
    kind: TokenKind, task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that the token check refuses with 401 passes if it can read the log."""
    secret = "another-token-0123456789abcdefghijklmn"
    other = TaskSetup(monkeypatch, task_setup.destination, tokens={secret: kind})
    other.connect(password=secret, extra={"organization_id": ORGANIZATION_ID})
    assert other.hook().test_connection()[0]


def test_connection_check_with_global_key(task_setup: TaskSetup) -> None:
    """Accepts a valid e-mail and key; reports a wrong key without showing it."""
    task_setup.connect(login=task_setup.fake.settings.auth_email, password=task_setup.fake.settings.auth_key)
    assert task_setup.hook().test_connection()[0]
    task_setup.connect(login=EMAIL, password="wrong-key-0123456789")
    passed, sentence = task_setup.hook().test_connection()
    assert not passed
    assert "key" in sentence
    assert "wrong-key" not in sentence


def test_get_conn_returns_client_of_the_api(task_setup: TaskSetup) -> None:
    """The client reaches any endpoint relative to its base URL, and can be closed and opened again."""
    hook = task_setup.hook()
    client = hook.get_conn()
    assert isinstance(client, httpx.Client)
    assert client.get("user/tokens/verify").json()["success"]
    assert hook.get_conn() is client
    hook.close()
    assert client.is_closed
    assert hook.get_conn().get("user/tokens/verify").status_code == 200


@pytest.mark.parametrize(
    ("kind", "account_id", "words"),
    [
        (None, ACCOUNT_ID, "does not accept the credential for the audit log of account"),
        (TokenKind.NO_PERMISSION, ACCOUNT_ID, "may not read the audit log of account"),
        (TokenKind.VALID, "f" * 32, "no access to the audit log of account"),
    ],
    ids=["wrong token", "missing permission", "wrong account"],
)
def test_a_refused_read_names_connection_and_account(
    kind: TokenKind | None, account_id: str, words: str, task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token, a missing permission and a wrong account are three messages, each with connection and account."""
    secret = "another-token-0123456789abcdefghijklmn"
    other = TaskSetup(monkeypatch, task_setup.destination, tokens={} if kind is None else {secret: kind})
    other.connect("audit_team", password=secret, extra={"account_id": account_id})
    with pytest.raises(SourceAuthError) as caught:
        list(other.hook("audit_team").iter_audit_logs(**SINCE))
    with pytest.raises(SourceAuthError) as exported:
        list(other.hook("audit_team").export_audit_logs(**SINCE))
    with pytest.raises(AirflowFailException) as failed:
        other.land(cloudflare_conn_id="audit_team")
    for text in (str(caught.value), str(exported.value), str(failed.value)):
        assert "connection audit_team" in text
        assert account_id in text
    assert words in str(caught.value)
    assert words in str(failed.value)


def test_a_refused_account_that_does_not_exist_names_the_connection(task_setup: TaskSetup) -> None:
    """An account that Cloudflare does not find is named with its connection."""
    task_setup.misbehave("status=404")
    with pytest.raises(ConfigurationError, match=f"cannot find.*{ACCOUNT_ID}.*connection cloudflare_default"):
        list(task_setup.hook().iter_audit_logs(**SINCE))


class _OverridesGetConnection(CloudflareHook):
    """Hook of a user who stores connections elsewhere and overrides the blocking method only."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        return Connection(conn_id=conn_id, conn_type="cloudflare", password=TOKEN, extra='{"account_id": "own"}')


class _OverridesAgetConnection(_OverridesGetConnection):
    """The same with an override of the async method, which takes precedence on an event loop."""

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Connection:
        return Connection(conn_id=conn_id, conn_type="cloudflare", password=TOKEN, extra='{"account_id": "async"}')


@pytest.mark.parametrize(
    ("hook_class", "async_id"), [(_OverridesGetConnection, "own"), (_OverridesAgetConnection, "async")]
)
def test_hook_with_override_of_get_connection_reads_settings_from_it(
    hook_class: type[CloudflareHook], async_id: str
) -> None:
    """Blocking and async methods read the connection through the subclass's override, not from Airflow's store."""
    assert hook_class("not_in_airflow").settings.account_id == "own"
    assert asyncio.run(hook_class("not_in_airflow").load_settings()).account_id == async_id


def test_hook_with_patched_get_connection_reads_settings_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock of ``CloudflareHook.get_connection``, as tests of Airflow providers use, applies to both methods."""
    own = _OverridesGetConnection.get_connection("mocked")
    for target in (CloudflareHook, BaseHook):
        with monkeypatch.context() as patched:
            patched.setattr(target, "get_connection", Mock(return_value=own))
            assert CloudflareHook("mocked").settings.account_id == "own"
    monkeypatch.setattr(CloudflareHook, "get_connection", Mock(return_value=own))
    assert asyncio.run(CloudflareHook("mocked").load_settings()).account_id == "own"
