"""Finds out whether the library of an object store is installed, and names the extra that installs it.

The library is looked up and not imported, because operators ask whenever a DAG file is parsed.
"""

from __future__ import annotations

from importlib.util import find_spec

from airflow_audit_provider.exceptions import ConfigurationError

# Scheme -> (library, extra). The schemes of Airflow's providers, and the other names that fsspec has for them.
_LIBRARIES = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "az": ("adlfs", "azure"),
    "adl": ("adlfs", "azure"),
}


def require_store_library(uri: str) -> None:
    """Raises ``ConfigurationError`` if a URI's scheme is that of a known store whose library is not installed."""
    library, extra = _LIBRARIES.get(_scheme(uri), (None, None))
    if library is not None and find_spec(library) is None:
        raise ConfigurationError(f"A destination on {_scheme(uri)}:// needs the {library} library. {_install(extra)}")


def store_remedy(uri: str) -> str:
    """Returns what to do if a store cannot be opened although the library named by its scheme is found."""
    _, extra = _LIBRARIES.get(_scheme(uri), (None, None))
    if extra is None:
        return "Check its scheme, and install the Airflow provider or the fsspec library of that object store."
    return f"Check its spelling, and that the object store's Airflow provider is installed. {_install(extra)}"


def _install(extra: str | None) -> str:
    return f"Run: pip install 'airflow-audit-provider[{extra}]'."


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower() if "://" in uri else ""
