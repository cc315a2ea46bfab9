"""Attaches the file system of a destination to Airflow without importing those of all other providers.

To open a path, Airflow imports the file systems of every installed provider, because only the modules state their
schemes: 2.4 s of CPU at the start of a task with the amazon, google and azure providers. Here the one module that
serves the scheme is imported, and what its ``get_fs`` returns is attached as the file system of the connection, as
Airflow would do. Whatever is unusual is left to Airflow. Google Cloud Storage is also opened without Airflow's Google
provider, by :mod:`airflow_audit_provider._airflow.google_storage`.

Invariant: a path has the same file system, from the same connection, whether or not it was attached here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module, metadata
from typing import Any
from urllib.parse import urlsplit

from airflow_audit_provider._airflow.google_storage import google_file_system
from airflow_audit_provider.adapters.storage.fsspec_store import local_file_system
from airflow_audit_provider.adapters.storage.s3_models import hasten_models

_GOOGLE = "airflow.providers.google.cloud.fs.gcs"
# The schemes that the modules of Airflow's own providers state.
PROVIDER_SCHEMES = {
    "airflow.providers.amazon.aws.fs.s3": frozenset({"s3", "s3a", "s3n"}),
    _GOOGLE: frozenset({"gs", "gcs"}),
    "airflow.providers.microsoft.azure.fs.adls": frozenset({"abfs", "abfss", "adl"}),
    "airflow.providers.microsoft.azure.fs.msgraph": frozenset({"msgraph", "sharepoint", "onedrive", "msgd"}),
}


def attach_file_system(destination: str, conn_id: str | None) -> None:
    """Makes the file system of a destination the one that Airflow's paths of this scheme and connection use.

    Does nothing if one is attached already, and if the module that serves the scheme is uncertain.
    Raises what the provider raises, such as ``AirflowNotFoundException``.
    """
    from airflow.sdk.io import attach

    parts = urlsplit(destination)
    user, _, _ = parts.netloc.rpartition("@")
    if user and conn_id:
        # Which of two connection ids counts depends on Airflow's version.
        return
    scheme, conn_id = parts.scheme or "file", conn_id or user or None
    try:
        attach(alias=f"{scheme}-{conn_id}" if conn_id else scheme)
    except ValueError:
        # No file system is attached yet.
        file_system = _file_system(scheme, conn_id)
        if file_system is not None:
            attach(scheme, conn_id, fs=file_system)


def _file_system(scheme: str, conn_id: str | None) -> Any:
    """Returns the file system that Airflow would create, None if that is uncertain."""
    serving = [module for module in _installed_modules() if scheme in PROVIDER_SCHEMES.get(module, {scheme})]
    if scheme == "file" and not serving:
        return local_file_system()
    if scheme in PROVIDER_SCHEMES[_GOOGLE] and not any(_serves(module, scheme) for module in serving):
        return google_file_system(conn_id)
    if len(serving) != 1 or serving[0] not in PROVIDER_SCHEMES:
        return None
    return _created(scheme, conn_id)


def _serves(module: str, scheme: str) -> bool:
    """Returns whether a module serves a scheme; one of another author has to be imported to know that."""
    return module in PROVIDER_SCHEMES or scheme in getattr(import_module(module), "schemes", ())


def _created(scheme: str, conn_id: str | None) -> Any:
    """Returns what the provider creates for a scheme, None if its module cannot be imported or has changed."""
    try:
        module = _imported(scheme)
    except ImportError:
        return None
    if module is None or scheme not in module.schemes:
        return None
    # Older providers take the connection id alone, as Airflow knows, too.
    options: list[Any] = [{}] if len(inspect.signature(module.get_fs).parameters) > 1 else []
    file_system = module.get_fs(conn_id, *options)
    if scheme in PROVIDER_SCHEMES["airflow.providers.amazon.aws.fs.s3"]:
        hasten_models(file_system.session)
    return file_system


def _imported(scheme: str) -> Any:
    """Returns the module that serves a scheme, None if it is not one of those for audit logs."""
    if scheme in PROVIDER_SCHEMES["airflow.providers.amazon.aws.fs.s3"]:
        from airflow.providers.amazon.aws.fs import s3

        return s3
    if scheme in PROVIDER_SCHEMES[_GOOGLE]:
        from airflow.providers.google.cloud.fs import gcs

        return gcs
    if scheme in PROVIDER_SCHEMES["airflow.providers.microsoft.azure.fs.adls"]:
        from airflow.providers.microsoft.azure.fs import adls

        return adls
    return None


def _installed_modules() -> Iterator[str]:
    """Yields the file-system modules that the installed providers declare."""
    for point in metadata.entry_points(group="apache_airflow_provider"):
        yield from point.load()().get("filesystems", [])
