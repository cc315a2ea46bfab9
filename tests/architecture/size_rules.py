"""Rules on the length of files and functions, and on the number of parameters.

Invariant: a rule takes a source and returns its complaints; no complaint is the empty list.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.architecture.source_files import (
    AIRFLOW_LAYER,
    PACKAGE,
    FunctionNode,
    SourceFile,
    code_line_count,
    functions,
    is_stub,
    parameter_count,
)

FUNCTION_LINES, MEDIAN_LINES, NINTH_DECILE_LINES = 40, 8, 25
SHELL_METHOD_LINES = 15
SHELL_METHODS = {"execute", "poke", "run"}
PARAMETERS = 6
# A shell's constructor, and the hook's methods that take the API's own parameters by name.
FORMS = {"__init__", "iter_audit_logs", "aiter_audit_logs", "export_audit_logs"}
FILE_LINES = 500
SHORT_FILE_LINES = 40
# Files of the package that are shorter, each with the reason why it is a module of its own.
SHORT_FILES = {
    "_airflow/observability/metrics.py": "the metrics are one of the observers, beside tracing and the progress log",
    "adapters/storage/s3_models.py": "botocore's files, apart from the calls to S3",
    "_airflow/html_templates.py": "the coverage page and the reports share the escaping of their templates",
    "_airflow/connection_form.py": "only Airflow before 3.2 imports the widgets",
    "assets/audit_logs.py": "the asset is public, at the path where Airflow providers have theirs",
    "pipelines/pass_records.py": "the command, the operator and coverage share the records' place in the store",
    "testing/bounds.py": "the fake's query bounds, apart from its filters",
    "core/api/read_stats.py": "the fetch, the reader and the manifest share the counts",
    "adapters/clock.py": "the adapter of one port",
}


def long_files(source: SourceFile) -> list[str]:
    """A file has at most 500 lines, all kinds of lines counted."""
    count = len(source.text.splitlines())
    return [f"{source.path} has {count} lines, {FILE_LINES} allowed"] if count > FILE_LINES else []


def short_files(source: SourceFile) -> list[str]:
    """A file of the package below 40 lines is listed with a reason; ``__init__`` files are exempt."""
    count = len(source.text.splitlines())
    relative = source.path.removeprefix(f"{PACKAGE}/")
    if count >= SHORT_FILE_LINES or relative.endswith("__init__.py") or relative in SHORT_FILES:
        return []
    return [f"{source.path} has {count} lines; merge it, or list it in SHORT_FILES with a reason"]


def long_functions(source: SourceFile) -> list[str]:
    """A function has at most 40 lines of code; a form of the Airflow layer has as many as it has fields."""
    is_shell = source.path.startswith(AIRFLOW_LAYER)
    return _longer_than(source, FUNCTION_LINES, [f for f in functions(source) if not (is_shell and f.name in FORMS)])


def long_shell_methods(source: SourceFile) -> list[str]:
    """The methods that Airflow calls have at most 15 lines of code: they translate and decide nothing."""
    if not source.path.startswith(AIRFLOW_LAYER):
        return []
    called = [function for function in functions(source) if function.name in SHELL_METHODS]
    return _longer_than(source, SHELL_METHOD_LINES, called)


def _longer_than(source: SourceFile, allowed: int, among: Sequence[FunctionNode]) -> list[str]:
    # A function that is short with its comments and docstring is short without them.
    long = (function for function in among if (function.end_lineno or 0) - function.lineno >= allowed)
    measured = ((function, code_line_count(source, function)) for function in long)
    return [
        f"{source.path}:{function.lineno} {function.name} has {count} lines of code, {allowed} allowed"
        for function, count in measured
        if count > allowed
    ]


def wide_functions(source: SourceFile) -> list[str]:
    """A function has at most 6 parameters; what an Airflow-facing class takes from its user may be more."""
    is_shell = source.path.startswith(AIRFLOW_LAYER)
    return [
        f"{source.path}:{function.lineno} {function.name} has {parameter_count(function)} parameters"
        for function in functions(source)
        if parameter_count(function) > PARAMETERS and not (is_shell and function.name in FORMS)
    ]


def spread(sources: Sequence[SourceFile]) -> tuple[float, float]:
    """Return the median and the 90th percentile of the functions' lines of code, stubs of Protocols left out."""
    counts = sorted(
        code_line_count(source, function)
        for source in sources
        for function in functions(source)
        if not is_stub(function)
    )
    if len(counts) < 2:
        return float(sum(counts)), float(sum(counts))
    return statistics.median(counts), statistics.quantiles(counts, n=10)[-1]
