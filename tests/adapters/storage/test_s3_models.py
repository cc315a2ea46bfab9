"""The descriptions of S3 are those that botocore itself reads."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.s3_models import hasten_models

_LOADERS: Any = import_module("botocore.loaders")


class _Session:
    """A session as botocore has it, as far as its loader is concerned."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def get_component(self, name: str) -> Any:
        assert name == "data_loader"
        return self.loader


@pytest.fixture
def hastened() -> Any:
    """Returns a loader that reads fast."""
    loader = _LOADERS.Loader()
    hasten_models(_Session(loader))
    assert not isinstance(loader.file_loader, _LOADERS.JSONFileLoader)
    return loader


def test_descriptions_of_s3_are_equal_and_in_the_same_order(hastened: Any) -> None:
    """The order of members decides about the order of headers and of the signed text."""
    for kind in ("service-2", "endpoint-rule-set-1", "paginators-1"):
        expected, found = _LOADERS.Loader().load_service_model("s3", kind), hastened.load_service_model("s3", kind)
        assert found == expected
        assert _keys(found) == _keys(expected)
    for name in ("partitions", "endpoints", "_retry"):
        assert hastened.load_data(name) == _LOADERS.Loader().load_data(name)


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [(key, _keys(each)) for key, each in value.items()]
    return [_keys(each) for each in value] if isinstance(value, list) else []


def test_services_are_found_as_before(hastened: Any) -> None:
    """Credentials may need the client of another service."""
    services, expected = hastened.list_available_services("service-2"), _LOADERS.Loader()
    assert list(services) == expected.list_available_services("service-2")
    assert (len(services), services[0]) == (len(list(services)), next(iter(services)))
    assert "sts" in services
    assert hastened.load_service_model("sts", "service-2") == expected.load_service_model("sts", "service-2")


def test_client_is_described_without_listing_all_services(hastened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the folders of S3 are listed: one for the service and those of its versions."""
    listed: list[str] = []
    listdir = os.listdir

    def noted(folder: str) -> list[str]:
        listed.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", noted)
    for kind in ("service-2", "endpoint-rule-set-1"):
        hastened.load_service_model("s3", kind)
    assert listed
    assert {Path(folder).name for folder in listed} == {"s3"}


def test_unknown_service_is_the_same_error(hastened: Any) -> None:
    """The error names all services, as before."""
    with pytest.raises(import_module("botocore.exceptions").UnknownServiceError, match=r"'s4'.*accessanalyzer"):
        hastened.load_service_model("s4", "service-2")


def test_missing_description_is_none(hastened: Any) -> None:
    """Botocore then looks in the next folder."""
    assert hastened.file_loader.load_file("/nowhere/service-2") is None
    assert not hastened.file_loader.exists("/nowhere/service-2")


@pytest.mark.parametrize("loader", [object(), _LOADERS.Loader(file_loader=_Session(None))])
def test_unusual_loader_is_left_alone(loader: Any) -> None:
    """A loader that somebody else set, or of another botocore, reads as it likes."""
    before = dict(vars(loader)) if isinstance(loader, _LOADERS.Loader) else None
    hasten_models(_Session(loader))
    assert before is None or vars(loader) == before
