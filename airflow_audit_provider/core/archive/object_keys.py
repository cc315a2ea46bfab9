"""Object keys of a window, relative to the destination, in Hive style.

::

    dt=2026-11-01/window=20261101T000000Z-20261102T000000Z/part-0001-00000-3f2a….jsonl.gz
    _manifests/dt=2026-11-01/20261101T000000Z-20261102T000000Z.g0001.json      written last: the commit
    _staging/20261101T000000Z-20261102T000000Z/<attempt>/part-00000            no reader looks here
    _staging/unfinished/20261102T001500Z-3f2a…                                 being written, on local files
    _seals/000001.json, _seals/000001.sig, _seals/000001.tsr                   a seal, its signature, its time stamp
    _seals/index/000001.json                                                   copies of the seals up to this number
    _dataset.json                                                              the dataset descriptor
    _verified/20261129T101500Z-0123456789abcdef.json                           a verification that passed, as a note
    _reports/20261129T101500Z-0123456789abcdef.html                            a report for auditors
    _long_windows/20261001T000000Z-20261101T000000Z.json                       announces a window of more than a day
    _manifest_index/2026-11.jsonl.gz                                           copies of a month's newest manifests
    _commit_log/2026-11-02/20261102T001500Z-<window>.g0001-<attempt>.json      an attempt that may commit
    _detections/ledger/000000/000000012.json                                   a commit of detections
    _detections/windows/2026-11-000000012-3f2a….json.gz                        what has run on the windows of a month
    _detections/alerts/dt=2026-11-01/<window>-3f2a….jsonl.gz                   alerts about records of a window
    _detections/delivered/000000012/<notifier>.json                            a notifier has got the alerts of a commit

With the layout of Security Lake, the parts are in its bucket; see ``security_lake``.

Invariant: a key is a function of what it names; the same part of the same window always has the same key, and a
different part always has another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.part_names import part_generation_in, part_name
from airflow_audit_provider.core.archive.security_lake import SecurityLake, event_day, has_day
from airflow_audit_provider.core.windows.window import LATEST_AT, TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

# Not among the manifests: readers of `_manifests/**/*.json` take every object there for a manifest.
DATASET_KEY = "_dataset.json"
MANIFEST_FOLDER = "_manifests/"
STAGING_FOLDER = "_staging/"
SEAL_FOLDER = "_seals/"
VERIFIED_FOLDER = "_verified/"
REPORT_FOLDER = "_reports/"
LONG_WINDOW_FOLDER = "_long_windows/"
MANIFEST_INDEX_FOLDER = "_manifest_index/"
COMMIT_LOG_FOLDER = "_commit_log/"
DETECTION_FOLDER = "_detections/"
DETECTION_LEDGER_FOLDER = f"{DETECTION_FOLDER}ledger/"
UNFINISHED_FOLDER = f"{STAGING_FOLDER}unfinished/"
PARTITION_START = "dt="
SIGNATURE_ENDING = ".sig"
_UNFINISHED = re.compile(UNFINISHED_FOLDER + r"(\d{8}T\d{6}Z)-\w+", re.ASCII)
_WINDOW = re.compile(r"(\d{8}T\d{6}(?:\.\d{6})?Z)-(\d{8}T\d{6}(?:\.\d{6})?Z)", re.ASCII)
# A longer window is checked for overlaps by the manifests of its first 62 days only, which bounds the listings.
_MAX_DAYS = 62
_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_PARTITION = re.compile(PARTITION_START + r"(\d{4}-\d{2}-\d{2})/", re.ASCII)
_GENERATION = re.compile(r"\.g(\d{4,15})\.json$", re.ASCII)
_MANIFEST = re.compile(
    MANIFEST_FOLDER + _PARTITION.pattern + _WINDOW.pattern + r"\.g(\d{4}|[1-9]\d{4,14})\.json", re.ASCII
)
_TIME_OF_DAY = r"((?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?:\.(?!000000)\d{6})?)Z"
# A manifest's key from the time of its start on, if both times can be those of a day.
_ORDINARY = re.compile(
    _TIME_OF_DAY + r"-(\d{8}T)" + _TIME_OF_DAY + r"\.g(?!0000\.)(?:\d{4}|[1-9]\d{4,14})\.json", re.ASCII
)
_PASS_RECORD = re.compile(VERIFIED_FOLDER + r"\d{8}T\d{6}Z-[0-9a-f]{16}\.json", re.ASCII)
_REPORT = re.compile(REPORT_FOLDER + r"\d{8}T\d{6}Z-[0-9a-f]{16}\.html", re.ASCII)
# A key never has it, because the fraction of a whole second is left out.
_ZERO_FRACTION = ".000000Z"
_MANIFEST_INDEX = re.compile(MANIFEST_INDEX_FOLDER + r"(\d{4}-(?:0[1-9]|1[0-2]))\.jsonl\.gz", re.ASCII)
_LOG_ENTRY = re.compile(
    COMMIT_LOG_FOLDER + r"(\d{4}-\d{2}-\d{2})/(\d{8}T\d{6}Z)-(" + _WINDOW.pattern + r")\.g(\d{4,15})-([^/]+)\.json",
    re.ASCII,
)
_DETECTION_COMMIT = re.compile(DETECTION_LEDGER_FOLDER + r"\d{6,12}/(\d{9,15})\.json", re.ASCII)
_DETECTION = re.compile(
    DETECTION_FOLDER + r"(?:ledger/\d{6,12}/\d{9,15}\.json|windows/\d{4}-\d{2}-\d{9,15}-[0-9a-f]{16}\.json\.gz"
    r"|alerts/" + _PARTITION.pattern + _WINDOW.pattern + r"-[0-9a-f]{16}\.jsonl\.gz"
    r"|delivered/\d{9,15}/[\w.-]{1,200}\.json)",
    re.ASCII,
)
_DETECTED_WINDOWS = re.compile(DETECTION_FOLDER + r"windows/\d{4}-\d{2}-(\d{9,15})-[0-9a-f]{16}\.json\.gz", re.ASCII)
_SEAL_INDEX = re.compile(r"_seals/index/(\d{6,15})\.json", re.ASCII)
_SEAL = re.compile(r"_seals/(\d{6,15})\.(?:json|sig|tsr)", re.ASCII)


class WindowKeys(msgspec.Struct, frozen=True):
    """The keys of one window; ``partition_date`` is the calendar date of its start in the run's time zone.

    ``lake`` is where the parts are in Security Lake, None for the ordinary layout.
    """

    window: TimeWindow
    partition_date: date
    lake: SecurityLake | None = None

    @property
    def name(self) -> str:
        """The window as text that sorts by time and is safe in any store's keys."""
        return f"{_compact(self.window.start)}-{_compact(self.window.end)}"

    @property
    def partition(self) -> str:
        """The prefix of the window's data objects in the ordinary layout, ending in a slash."""
        return f"dt={self.partition_date.isoformat()}/window={self.name}/"

    @property
    def part_folders(self) -> list[str]:
        """The folders in which the window's parts are, each ending in a slash.

        In Security Lake, they also hold the objects of other windows.
        """
        return [self.partition] if self.lake is None else self.lake.folders_of(self.window)

    @property
    def manifest_prefix(self) -> str:
        """The prefix of the folder with the manifests of all windows that start on the same UTC date.

        It is the UTC date in every time zone, so that one window has one key for its commit.
        """
        return f"{MANIFEST_FOLDER}dt={self.window.start.date()}/"

    @property
    def neighbour_prefixes(self) -> list[str]:
        """The manifest folders of windows of up to a day that may overlap: from the UTC date before the window on.

        The last is that of the window's end, or the 63rd.
        """
        first = self.window.start.date() - _DAY
        return [f"{MANIFEST_FOLDER}dt={first + day * _DAY}/" for day in range(min(self._neighbour_days, _MAX_DAYS + 1))]

    @property
    def has_distant_neighbours(self) -> bool:
        """Whether the window is so long that its neighbour folders do not cover it."""
        return self._neighbour_days > _MAX_DAYS + 1

    @property
    def _neighbour_days(self) -> int:
        return ((self.window.end - _TICK).date() - self.window.start.date()).days + 2

    @property
    def announcement(self) -> str | None:
        """The key that announces a window of more than a day, None for a shorter one.

        A window that begins in its second half has no neighbour folder that shows the longer one.
        """
        return f"{LONG_WINDOW_FOLDER}{self.name}.json" if self.window.length > _DAY else None

    def manifest(self, generation: int) -> str:
        """Returns the key of a generation's manifest; generations count from 1."""
        return f"{self.manifest_prefix}{self.name}.g{generation:04}.json"

    def generation_of(self, key: str) -> int | None:
        """Returns the generation in a key if it is a manifest of this window, else None."""
        match = _GENERATION.search(key)
        return int(match[1]) if match and key == self.manifest(int(match[1])) else None

    def overlaps(self, key: str) -> bool:
        """Returns whether a key is the manifest of another window that overlaps this one."""
        return any(self.overlapping([key]))

    def overlapping(self, keys: Iterable[str]) -> Iterator[str]:
        """Yields the keys of manifests of other windows that overlap this one."""
        # Compares text, which without its Z sorts by time: there may be thousands of keys, and parsing costs more.
        first, last = _compact(self.window.start)[:-1], _compact(self.window.end)[:-1]
        for key in keys:
            match = _WINDOW.search(key)
            if match is not None and match[1][:-1] < last and first < match[2][:-1] and match[0] != self.name:
                yield key

    def part(self, generation: int, index: int, sha256: str, extension: str) -> str:
        """Returns the final key of a part; the digest in it separates the parts of concurrent runs unless equal."""
        return f"{self.partition}{part_name(generation, index, sha256, extension)}"

    def lake_part(self, generation: int, index: int, sha256: str, class_uid: int, event_ns: int) -> str:
        """Returns the final key of a part in Security Lake, for its class and the event time of one of its records."""
        assert self.lake is not None, "the layout is that of Security Lake"
        folder = self.lake.folder(class_uid, event_day(event_ns))
        return f"{folder}{self._lake_name}{part_name(generation, index, sha256, 'parquet')}"

    def part_generation(self, key: str) -> int | None:
        """Returns the generation that a part of this window was published for, None for any other key."""
        if self.lake is None:
            return part_generation_in(self.partition, key)
        folder = key[: key.rfind("/") + 1]
        day = self.lake.day_of(folder)
        is_inside = day is not None and has_day(self.window, day)
        return part_generation_in(f"{folder}{self._lake_name}", key) if is_inside else None

    @property
    def _lake_name(self) -> str:
        """The beginning of the names of the window's objects in Security Lake, where windows share folders."""
        return f"{self.name}.{self.lake.stream if self.lake else ''}."

    @property
    def all_staging(self) -> str:
        """The prefix under which all attempts at this window stage, ending in a slash."""
        return f"{STAGING_FOLDER}{self.name}/"

    def staging(self, attempt_id: str) -> str:
        """Returns the prefix under which one attempt stages, ending in a slash."""
        return f"{self.all_staging}{attempt_id}/"


class LogEntry(NamedTuple):
    """The facts in the key of a commit log entry: which attempt may commit which generation of a window, and when.

    ``at`` is in whole seconds, by the clock of the attempt.
    """

    at: datetime
    window: TimeWindow
    generation: int
    attempt_id: str

    @property
    def key(self) -> str:
        """The key of the entry; keys sort by time, and each day has a folder of its own."""
        name = WindowKeys(self.window, self.window.start.date()).name
        entry = f"{_compact(self.at)}-{name}.g{self.generation:04}-{self.attempt_id}.json"
        return f"{log_folder(self.at.date())}{entry}"


class ManifestKey(NamedTuple):
    """The facts in the key of a manifest; ``day`` is the UTC date of its folder."""

    window: TimeWindow
    day: date
    generation: int


def read_manifest_key(key: str) -> ManifestKey | None:
    """Parses the key of a manifest; returns None for a key that this provider never gives a manifest."""
    match = _MANIFEST.fullmatch(key)
    if match is None or _ZERO_FRACTION in key:
        return None
    folder, start, end, number = match.groups()
    generation, day_digits = int(number), folder.replace("-", "")
    if not start.startswith(day_digits) or not generation:
        return None
    try:
        window = TimeWindow(_instant(start), _instant(end))
    except (ValueError, ConfigurationError):
        return None
    return ManifestKey(window, window.start.date(), generation)


def misplaced_manifests(keys: Iterable[str], day: date) -> Iterator[str]:
    """Yields the keys that are not those of manifests in the folder of a day.

    Windows that end on this day or the next are recognized by the text: there may be thousands, and parsing takes three
    times as long.
    """
    start_day, next_day = (f"{each.isoformat().replace('-', '')}T" for each in (day, day + _DAY))
    beginning = f"{MANIFEST_FOLDER}{PARTITION_START}{day}/{start_day}"
    for key in keys:
        match = _ORDINARY.fullmatch(key, len(beginning)) if key.startswith(beginning) else None
        if match and (match[2] == next_day or (match[2] == start_day and match[1] < match[3])):
            continue
        parsed = read_manifest_key(key)
        if parsed is None or parsed.day != day:
            yield key


def newest_manifests(keys: Iterable[str]) -> dict[TimeWindow, str]:
    """Returns the key of the newest generation of each window; ignores keys of other objects."""
    newest: dict[TimeWindow, tuple[int, str]] = {}
    for key in keys:
        named = read_manifest_key(key)
        if named is not None:
            newest[named.window] = max((named.generation, key), newest.get(named.window, (0, "")))
    return {window: key for window, (_, key) in newest.items()}


def window_in(key: str) -> TimeWindow | None:
    """Returns the window in a key, None if there is none."""
    match = _WINDOW.search(key)
    try:
        return TimeWindow(_instant(match[1]), _instant(match[2])) if match else None
    except (ValueError, ConfigurationError):
        return None


def announced_window(key: str) -> TimeWindow | None:
    """Returns the window that a key announces, None for any other key."""
    window = window_in(key)
    is_announcement = window is not None and key == WindowKeys(window, window.start.date()).announcement
    return window if is_announcement else None


def partition_date_in(key: str) -> date | None:
    """Returns the date of the partition that a key is in, None without one or after the latest window."""
    match = _PARTITION.match(key)
    try:
        day = date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None
    return day if day is not None and day < LATEST_AT.date() else None


def missing_numbers(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yields the gaps between 1 and the greatest number, each as its first and last missing number."""
    for before, number in pairwise([0, *sorted(set(numbers))]):
        if number - before > 1:
            yield before + 1, number - 1


def unfinished_key(began_at: datetime, name: str) -> str:
    """Returns the temporary key of an object being written; ``name`` is unique, ``began_at`` gives its age."""
    return f"{UNFINISHED_FOLDER}{_compact(began_at.astimezone(UTC).replace(microsecond=0))}-{name}"


def unfinished_since(key: str) -> datetime | None:
    """Returns when writing an unfinished object began, None for any other key."""
    match = _UNFINISHED.fullmatch(key)
    try:
        return _instant(match[1]) if match else None
    except ValueError:
        return None


def seal_key(number: int) -> str:
    """Returns the key of a seal. It contains only the number, so creating the object reserves the number."""
    return f"{SEAL_FOLDER}{number:06}.json"


def signature_key(number: int) -> str:
    """Returns the key of a seal's signature."""
    return f"{SEAL_FOLDER}{number:06}{SIGNATURE_ENDING}"


def timestamp_key(number: int) -> str:
    """Returns the key of a seal's time stamp."""
    return f"{SEAL_FOLDER}{number:06}.tsr"


def seal_number(key: str) -> int | None:
    """Returns the number in the key of a seal, a signature or a time stamp, None for any other key."""
    match = _SEAL.fullmatch(key)
    number = int(match[1]) if match else 0
    # A number has one text: leading zeros fill six digits and no more.
    return number if match and number and match[1] == f"{number:06}" else None


def seal_index_key(number: int) -> str:
    """Returns the key of an index of the seals up to a number."""
    return f"{SEAL_FOLDER}index/{number:06}.json"


def seal_index_number(key: str) -> int | None:
    """Returns the number of the newest seal in an index by its key, None for any other key."""
    match = _SEAL_INDEX.fullmatch(key)
    number = int(match[1]) if match else 0
    return number if number and key == seal_index_key(number) else None


def manifest_index_key(month: str) -> str:
    """Returns the key of the index of a month's manifests; the month is that of the window's start, as ``2026-11``."""
    return f"{MANIFEST_INDEX_FOLDER}{month}.jsonl.gz"


def manifest_index_month(key: str) -> str | None:
    """Returns the month of an index of manifests by its key, None for any other key."""
    match = _MANIFEST_INDEX.fullmatch(key)
    return match[1] if match else None


def month_of(manifest_key: str) -> str:
    """Returns the month of a manifest by its key: that of the UTC date on which its window starts."""
    start = len(MANIFEST_FOLDER) + len(PARTITION_START)
    return manifest_key[start : start + len("2026-11")]


def log_folder(day: date) -> str:
    """Returns the folder of the commit log entries of a UTC date."""
    return f"{COMMIT_LOG_FOLDER}{day.isoformat()}/"


def read_log_key(key: str) -> LogEntry | None:
    """Parses the key of a commit log entry; returns None for any other key."""
    match = _LOG_ENTRY.fullmatch(key)
    window = window_in(match[3]) if match else None
    try:
        entry = LogEntry(_instant(match[2]), window, int(match[6]), match[7]) if match and window else None
    except ValueError:
        return None
    return entry if entry is not None and entry.key == key else None


def pass_record_key(verified_at: datetime, sha256: str) -> str:
    """Returns the key of the record of a verification; keys sort by time."""
    return f"{VERIFIED_FOLDER}{_compact(verified_at.astimezone(UTC).replace(microsecond=0))}-{sha256[:16]}.json"


def is_pass_record_key(key: str) -> bool:
    """Returns whether a key is that of the record of a verification."""
    return _PASS_RECORD.fullmatch(key) is not None


def report_key(at: datetime, sha256: str) -> str:
    """Returns the key of a report about the destination as it was at an instant; keys sort by time."""
    return f"{REPORT_FOLDER}{_compact(at.astimezone(UTC).replace(microsecond=0))}-{sha256[:16]}.html"


def is_report_key(key: str) -> bool:
    """Returns whether a key is that of a report."""
    return _REPORT.fullmatch(key) is not None


def detection_commit_key(number: int) -> str:
    """Returns the key of a commit of detections. Creating the object reserves the number, as for a seal.

    A folder has the commits of a thousand numbers, so that the newest one is found by two short listings.
    """
    return f"{DETECTION_LEDGER_FOLDER}{number // 1000:06}/{number:09}.json"


def detection_commit_number(key: str) -> int | None:
    """Returns the number of a commit of detections by its key, None for any other key."""
    match = _DETECTION_COMMIT.fullmatch(key)
    number = int(match[1]) if match else 0
    return number if number and key == detection_commit_key(number) else None


def detected_windows_key(month: str, number: int, sha256: str) -> str:
    """Returns the key of what has run on the windows of a month, with the digest of its bytes.

    The number is that of its commit, so that no later commit names a key that was removed.
    """
    return f"{DETECTION_FOLDER}windows/{month}-{number:09}-{sha256[:16]}.json.gz"


def detected_windows_number(key: str) -> int | None:
    """Returns the number of the commit that a state of a month was written for, None for any other key."""
    match = _DETECTED_WINDOWS.fullmatch(key)
    return int(match[1]) if match else None


def alert_file_key(window: TimeWindow, sha256: str) -> str:
    """Returns the key of a file of alerts about records of a window, with the digest of its bytes."""
    day = window.start.date()
    name = WindowKeys(window, day).name
    return f"{DETECTION_FOLDER}alerts/{PARTITION_START}{day.isoformat()}/{name}-{sha256[:16]}.jsonl.gz"


def delivered_key(number: int, notifier: str) -> str:
    """Returns the key that states that a notifier has got the alerts of a commit."""
    return f"{DETECTION_FOLDER}delivered/{number:09}/{notifier}.json"


def is_detection_key(key: str) -> bool:
    """Returns whether a key is that of an object of detections."""
    return _DETECTION.fullmatch(key) is not None


# Adjacent windows share a bound, and a window's name is a part of several keys.
@lru_cache(maxsize=1024)
def _compact(instant: datetime) -> str:
    # ``strftime`` takes three times as long, and pads no year before 1000.
    fraction = f".{instant.microsecond:06}" if instant.microsecond else ""
    day = f"{instant.year:04}{instant.month:02}{instant.day:02}"
    return f"{day}T{instant.hour:02}{instant.minute:02}{instant.second:02}{fraction}Z"


def _instant(compact: str) -> datetime:
    """Parses an instant that a pattern matched; there may be thousands, and ``strptime`` takes 30 times as long."""
    if compact[9:11] == "24":
        # Newer versions of Python read it as the next midnight, which has another text.
        raise ValueError(compact)
    return datetime.fromisoformat(compact)
