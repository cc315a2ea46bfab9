"""Checks that a destination's URI names one place, whichever library reads it.

Libraries disagree about some texts in a URI. fsspec and Airflow's ``ObjectStoragePath`` take ``#``, ``?`` and ``%20``
as they are, ``urllib.parse``, adlfs and pyarrow do not (https://github.com/fsspec/universal_pathlib/issues/164). fsspec
drops what follows ``::``, and ``urllib.parse`` drops tabs and line breaks. ``*`` and ``[a]`` are patterns of names for
some libraries, and the Azure SDK takes brackets for an address. ``/a/../b`` and ``/a//b`` are other names of a local
folder, and other keys of a bucket. Such a URI would name another place than the one that holds the data, or two places.

The module is imported when a DAG is parsed.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from airflow_audit_provider.exceptions import ConfigurationError

_ENDS_OF_A_PATH = ("#", "?")
_REFUSED = ("%", "\\", "*", "[", "]", "::")
_RELATIVE = (".", "..")
AZURE_HOSTS = (".core.windows.net", ".fabric.microsoft.com")
_SCHEMES_WITHOUT_LOGIN = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl")


def split_uri(uri: str, name: str = "destination") -> SplitResult:
    """Returns the parts of a destination's URI; raises ``ConfigurationError`` if it does not name one place.

    A path without a scheme is a local file: ``/data/audit`` is ``file:///data/audit``.
    """
    parts, problem = _split(uri)
    if problem is not None:
        raise ConfigurationError(
            f"The {name} {without_login(uri)!r} has {problem}, so it does not name the same place for every library. "
            "Give a URI without the characters # ? % \\ * [ ], without two colons in a row, and without a folder whose "
            "name is empty, one dot or two dots."
        )
    return parts


def check_no_connection_id(uri: str) -> None:
    """Raises ``ConfigurationError`` for a URI with an Airflow connection id before the bucket, outside Airflow."""
    parts = split_uri(uri)
    if "@" not in parts.netloc or parts.scheme not in _SCHEMES_WITHOUT_LOGIN or parts.netloc.endswith(AZURE_HOSTS):
        return
    raise ConfigurationError(
        f"The destination {without_login(uri)!r} names a connection before the @, and only Airflow knows connections. "
        "Leave the connection out, and give the credentials to the store's library, for example by environment "
        "variables."
    )


def check_path(uri: str, path: str) -> None:
    """Raises ``ConfigurationError`` if a library opened another path than the one in the URI."""
    if not path.rstrip("/").endswith(split_uri(uri).path.rstrip("/")):
        raise ConfigurationError(
            f"The library of this store reads the destination {without_login(uri)!r} as the path {path!r}. Rename the "
            "folder, and use only letters, digits and - . _ in its name."
        )


def without_login(uri: str) -> str:
    """Returns a URI for messages, without what may be a user and password."""
    login, separator, rest = uri.rpartition("@")
    return f"{login.partition('://')[0]}://…@{rest}" if separator and "://" in login else uri


def _split(uri: str) -> tuple[SplitResult, str | None]:
    """Returns the parts of a URI, and what is wrong with it."""
    try:
        parts = urlsplit(uri if "://" in uri else f"file://{uri}")
    except ValueError as error:
        # The bucket has unmatched brackets, or a character that normalization turns into a slash.
        return urlsplit(""), f"an invalid bucket ({error})"
    return parts, _problem(uri, parts)


def _problem(uri: str, parts: SplitResult) -> str | None:
    """Returns what is wrong with a URI, None if it names one place."""
    place = parts.netloc.rpartition("@")[2] + parts.path
    # A connection id or a password before the bucket may be escaped by "%".
    refused = [text for text in _REFUSED if text in place] + [text for text in _ENDS_OF_A_PATH if text in uri]
    if refused:
        return f"the text {refused[0]!r}"
    if not uri.isprintable():
        return "a tab, a line break or another character that cannot be printed"
    if uri != uri.strip():
        return "a space at its beginning or end"
    folders = parts.path.rstrip("/").removeprefix("/").split("/")
    if len(folders) > 1 and "" in folders:
        return "a folder without a name, '//'"
    relative = [folder for folder in (parts.netloc, *folders) if folder in _RELATIVE]
    return f"a folder named {relative[0]!r}" if relative else None
