"""Layout of the parts in Amazon Security Lake, as AWS documents it for custom sources.

::

    ext/cf_audit_3002/region=eu-central-1/accountId=external_023e…/eventDay=20261101/<window>.<stream>.part-….parquet

The rules are in "Collecting data from custom sources in Security Lake" of AWS's user guide, quoted where code relies on
them. The keys are relative to the bucket of the lake, all other keys of a dataset to its own destination.

Invariant: an object has events of one class and one UTC day, and its key states both as far as the rules ask for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, timedelta
from typing import Any

import msgspec

from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

LAKE_FOLDER = "ext/"
# Classes that events have in OCSF 1.3 and before, which is what Security Lake takes: Account Change, Authentication,
# API Activity.
CLASS_UIDS = (3001, 3002, 6003)
CLASS_PLACE = "{class_uid}"
# "Files sent to Security Lake should be sent in increments between 5 minutes and 1 event day."
LEAST_LENGTH = timedelta(minutes=5)
# CreateCustomLogSource: "You must use a CustomLogSource name that is shorter than or equal to 20 characters."
_LONGEST_SOURCE = 20
_SOURCE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# Without a connection id, which "s3://connection@bucket" would have.
_BUCKET = re.compile(r"[^\s@]*[^\s@/]")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}", re.ASCII)
# "For records pertaining to accounts outside of AWS, we recommend using a string such as external or
# external_externalAccountId."
_ACCOUNT_ID = re.compile(r"\d{12}|external(?:_[A-Za-z0-9_-]{1,64})?", re.ASCII)
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_EPOCH = date(1970, 1, 1)
_DAY_NS = 86_400 * SECOND_NS
_STREAM = re.compile(r"v[12]-[0-9a-f]{8}", re.ASCII)
# A stream for checks of arguments before the log is known.
ANY_STREAM = "v1-00000000"
_REQUIRED = {"bucket", "source", "region"}
_ARGUMENTS = {*_REQUIRED, "account_id"}


class SecurityLake(msgspec.Struct, frozen=True):
    """Where a dataset's parts are in Security Lake.

    ``bucket`` is the URI of the lake's bucket. ``source`` is the name of the custom source; with ``{class_uid}`` in it,
    each class of events has a source of its own. ``stream`` tells datasets of a source apart.
    """

    bucket: str
    source: str
    region: str
    account_id: str
    stream: str

    def __post_init__(self) -> None:
        """Raises ``ConfigurationError`` for a value that AWS's rules, or a key, cannot have."""
        _check_source(self.source)
        _check(self.bucket, _BUCKET, "bucket", "the URI of the lake's bucket, such as s3://bucket")
        _check(self.region, _REGION, "region", "an AWS Region, such as eu-central-1")
        wanted = "12 digits of an AWS account, or external, or external_ and the account"
        _check(self.account_id, _ACCOUNT_ID, "account_id", wanted)
        _check(self.stream, _STREAM, "stream", "a version of the API and eight hexadecimal digits")

    def __str__(self) -> str:
        place = f"{self.bucket}, source {self.source}, {self.region}, accountId {self.account_id}"
        return f"security_lake ({place}, stream {self.stream})"

    def folders(self) -> list[str]:
        """Returns the folders of all of the dataset's parts, each ending in a slash, sorted."""
        return sorted({self._folder(class_uid) for class_uid in CLASS_UIDS})

    def folders_of(self, window: TimeWindow) -> list[str]:
        """Returns the folders in which parts of a window can be, each ending in a slash, sorted."""
        return sorted({self.folder(class_uid, day) for day in days_of(window) for class_uid in CLASS_UIDS})

    def folder(self, class_uid: int, day: date) -> str:
        """Returns the folder of the events of a class and a UTC date, ending in a slash."""
        return f"{self._folder(class_uid)}eventDay={day:%Y%m%d}/"

    def day_of(self, folder: str) -> date | None:
        """Returns the UTC date of a folder of events, None if it is not one of this dataset's."""
        match = _DAY_FOLDER.fullmatch(folder)
        if match is None or match[1] not in self.folders():
            return None
        try:
            return date(int(match[2][:4]), int(match[2][4:6]), int(match[2][6:]))
        except ValueError:
            return None

    def _folder(self, class_uid: int) -> str:
        source = self.source.replace(CLASS_PLACE, str(class_uid))
        return f"{LAKE_FOLDER}{source}/region={self.region}/accountId={self.account_id}/"


_DAY_FOLDER = re.compile(r"(ext/.+/)eventDay=(\d{8})/", re.ASCII)


def days_of(window: TimeWindow) -> Iterator[date]:
    """Yields the UTC dates of a window."""
    first, last = _first_and_last_day(window)
    for number in range((last - first).days + 1):
        yield first + number * _DAY


def has_day(window: TimeWindow, day: date) -> bool:
    """Returns whether a window has instants of a UTC date."""
    first, last = _first_and_last_day(window)
    return first <= day <= last


def _first_and_last_day(window: TimeWindow) -> tuple[date, date]:
    return window.start.astimezone(UTC).date(), (window.end - _TICK).astimezone(UTC).date()


def event_day(event_ns: int) -> date:
    """Returns the UTC date of an event time in nanoseconds since 1970."""
    return _EPOCH + timedelta(days=event_ns // _DAY_NS)


def is_day_of(day: date, first_ns: int, last_ns: int) -> bool:
    """Returns whether both event times, which may be any numbers, are on a UTC date."""
    number = (day - _EPOCH).days
    return first_ns // _DAY_NS == number == last_ns // _DAY_NS


def check_length(window: TimeWindow) -> None:
    """Raises ``ConfigurationError`` for a window that is shorter than AWS's rules allow."""
    if window.length < LEAST_LENGTH:
        raise ConfigurationError(
            f"The window {window} is shorter than 5 minutes. AWS's rules for custom sources of Security Lake ask for "
            "at least 5 minutes between deliveries. Give longer windows, or use another layout."
        )


def stream_of(version: str, query: bytes, destination: str) -> str:
    """Returns the name that tells apart the datasets of a source; ``query`` is the canonical JSON of the query.

    Logs of several accounts, scopes, filters and versions of the API may share a source. So may two destinations of one
    log: each removes its own objects only.
    """
    return f"{version}-{hashlib.sha256(query + destination.encode()).hexdigest()[:8]}"


def default_account_id(scope_id: str | None) -> str:
    """Returns the account id of a log that is not AWS's, in the form that AWS recommends."""
    return f"external_{scope_id}" if scope_id else "external"


def read_arguments(given: Any, scope_id: str | None, stream: str) -> SecurityLake:
    """Returns the layout that a dict of arguments gives; raises ``ConfigurationError`` if it cannot be.

    ``scope_id`` is the account of the log, ``stream`` as :func:`stream_of` returns it.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"security_lake is {given!r}. Give a dict with bucket, source and region, and account_id if the account is "
            "not to be external_<account id>."
        )
    unknown, missing = sorted(given.keys() - _ARGUMENTS), sorted(_REQUIRED - given.keys())
    if unknown or missing:
        name, state = (unknown[0], "unknown") if unknown else (missing[0], "missing")
        raise ConfigurationError(
            f"{name!r} in security_lake is {state}. Give bucket, source, region and, if wanted, account_id."
        )
    bucket = given["bucket"].rstrip("/") if isinstance(given["bucket"], str) else given["bucket"]
    account_id = given.get("account_id") or default_account_id(scope_id)
    return SecurityLake(bucket, given["source"], given["region"], account_id, stream)


def _check_source(source: object) -> None:
    name = source.replace(CLASS_PLACE, str(CLASS_UIDS[0])) if isinstance(source, str) else ""
    if len(name) > _LONGEST_SOURCE:
        raise ConfigurationError(
            f"The source {source!r} of security_lake becomes {name!r}, which has {len(name)} characters. AWS allows "
            f"{_LONGEST_SOURCE} for the name of a custom source. Give a shorter one."
        )
    _check(name, _SOURCE, "source", "a name of letters, digits, - and _, with {class_uid} if each class has a source")


def _check(value: object, form: re.Pattern[str], name: str, wanted: str) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ConfigurationError(f"security_lake has {name} {value!r}, which is invalid. Give {wanted}.")
