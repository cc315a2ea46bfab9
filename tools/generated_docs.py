"""Writes the parts of the documentation that other files of the project decide.

``python -m tools.generated_docs`` replaces what stands between ``<!-- generated: NAME -->`` and its end mark, and draws
the layer picture. ``tests/docs`` fails on a page that is not what this writes.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from airflow_audit_provider.cli.reconcile_command import PublishedReconcile
from airflow_audit_provider.cli.report_command import WrittenReport
from airflow_audit_provider.cli.results import PUBLISHED
from airflow_audit_provider.core.warehouse.backtest_report import BacktestReport
from airflow_audit_provider.hooks import parameters as hook_parameters
from airflow_audit_provider.pipelines.coverage import PublishedCoverage
from airflow_audit_provider.pipelines.freshness import FreshnessReport
from airflow_audit_provider.pipelines.plan_report import Plan
from airflow_audit_provider.pipelines.verify import PublishedReport
from tests.live.versions.versions import VERSIONS
from tools import detection_rules, layer_picture, ocsf_mapping
from tools.troubleshooting import troubleshooting

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
REPORT_SCHEMA = DOCS / "reference" / "verify-report.schema.json"
PLAN_SCHEMA = DOCS / "reference" / "backfill-plan.schema.json"
RECONCILE_SCHEMA = DOCS / "reference" / "reconcile-report.schema.json"
WRITTEN_REPORT_SCHEMA = DOCS / "reference" / "report.schema.json"
BACKTEST_SCHEMA = DOCS / "reference" / "backtest-report.schema.json"
COVERAGE_SCHEMA = DOCS / "reference" / "coverage.schema.json"
FRESHNESS_SCHEMA = DOCS / "reference" / "freshness.schema.json"
BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end of generated: (?P=name) -->)", re.DOTALL)
PINNED = re.compile(r"^(?P<name>[a-z0-9-]+)(?:\[[^\]]*\])?==(?P<version>[^ ;\\]+)", re.MULTILINE)
# The same for every interpreter: argparse wraps by the length of its path.
_RUN = """
import contextlib, io, json, runpy, sys
sys.executable = "python"
_, module, runs = sys.argv
outputs = []
for arguments in json.loads(runs):
    sys.argv = [module, *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code:
                raise
    outputs.append(printed.getvalue().strip())
print(json.dumps(outputs))
"""
COMMANDS = (
    "verify",
    "coverage",
    "freshness",
    "report",
    "plan",
    "pull",
    "load",
    "reconcile",
    "changes",
    "detect",
    "seal",
    "sweep",
    "oldest-day",
    "completion",
)
EXTRAS = {
    "parquet": ("pyarrow",),
    "zstd": ("zstandard",),
    "s3": ("apache-airflow-providers-amazon", "s3fs"),
    "gcs": ("gcsfs", "apache-airflow-providers-google"),
    "azure": ("apache-airflow-providers-microsoft-azure", "adlfs"),
    "seal": ("cryptography", "rfc3161-client", "securesystemslib"),
    "duckdb": ("duckdb",),
    "postgres": ("apache-airflow-providers-postgres",),
    "iceberg": ("pyiceberg",),
    "delta": ("deltalake",),
    "clickhouse": ("pyarrow",),
    "redis": ("redis",),
    "detections": ("pysigma", "duckdb"),
}


def written(text: str) -> str:
    """Returns a page with its generated blocks as they should be."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found['name']]()}\n\n{found[3]}", text)


def pages() -> list[Path]:
    """Returns the pages that have generated blocks."""
    return [path for path in sorted(DOCS.rglob("*.md")) if BLOCK.search(path.read_text(encoding="utf-8"))]


def compatibility() -> str:
    """Returns the tables of tested versions, from the lock files."""
    head = ["Airflow", "Python", "common-compat provider", "pyarrow", "zstandard", "httpx", "fsspec"]
    packages = ("apache-airflow-providers-common-compat", "pyarrow", "zstandard", "httpx", "fsspec")
    rows = [
        [version.number, version.pythons[0], *(pinned(version.lock.name, package) for package in packages)]
        for version in VERSIONS
    ]
    extras = [
        [f"`{extra}`", ", ".join(f"{package} {pinned('test.txt', package)}" for package in packages)]
        for extra, packages in EXTRAS.items()
    ]
    return (
        f"{_table(head, rows)}\n\nThe extras are tested with Airflow {VERSIONS[-1].number} and these packages:\n\n"
        f"{_table(['extra', 'tested with'], extras)}"
    )


def pinned(lock: str, package: str) -> str:
    """Returns the version of a package in a lock; several, if it differs by Python."""
    text = (PROJECT / "requirements" / lock).read_text(encoding="utf-8")
    versions = [found["version"] for found in PINNED.finditer(text) if found["name"] == package]
    if not versions:
        raise LookupError(f"requirements/{lock} has no {package}. Correct the name in tools/generated_docs.py.")
    return " or ".join(dict.fromkeys(versions))


def cli_help() -> str:
    """Returns the help of each command of ``airflow-audit-provider``."""
    helps = _outputs("airflow_audit_provider.cli", [(command, "--help") for command in COMMANDS])
    return "\n\n".join(f"## `{command}`\n\n{_text(text)}" for command, text in zip(COMMANDS, helps, strict=True))


def testing_help() -> str:
    """Returns the help of the fake Cloudflare."""
    return _text(_output("airflow_audit_provider.testing", "--help"))


def parameters() -> str:
    """Returns a table of the hook's typed parameters; one with ``_not`` at its end is in the row of its filter."""
    rows: dict[tuple[str, str], list[str]] = {}
    described = {
        "v1": hook_parameters.V1Parameters,
        "v2 account": hook_parameters.V2Parameters,
        "v2 organization": hook_parameters.V2ConnectionParameters,
    }
    for versions, one in described.items():
        for name, text in _field_texts(one).items():
            if not name.endswith("_not"):
                form = f"`{name}`, `{name}_not`" if f"{name}_not" in one.__annotations__ else f"`{name}`"
                line = " ".join(text.split())
                rows.setdefault((form, line.replace("``", "`").replace("|", "or")), []).append(versions)
    filters = {*hook_parameters.V1Filters.__annotations__, *hook_parameters.V2Filters.__annotations__}
    ordered = sorted(rows, key=lambda row: (row[0].split("`")[1] in filters, row[0].split("`")[1]))
    return _table(
        ["parameter", "version", "meaning"], [[form, _versions(rows[form, text]), text] for form, text in ordered]
    )


def _versions(found: list[str]) -> str:
    return ", ".join(found).replace("v2 account, v2 organization", "v2")


def _field_texts(typed_dict: type) -> dict[str, str]:
    """Returns the text below each field of a class and of its bases, in their order."""
    classes = {
        node.name: node for node in ast.parse(inspect.getsource(hook_parameters)).body if isinstance(node, ast.ClassDef)
    }
    return _texts_of(typed_dict.__name__, classes)


def _texts_of(name: str, classes: dict[str, ast.ClassDef]) -> dict[str, str]:
    node = classes[name]
    texts: dict[str, str] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            texts |= _texts_of(base.id, classes)
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            texts[field.target.id] = str(ast.literal_eval(text.value))
    return texts


def misbehaviours() -> str:
    """Returns a table of what the fake Cloudflare can do wrong."""
    lines = _output("airflow_audit_provider.testing", "--list-misbehaviours").splitlines()
    rows = [
        [f"`{kind}`", meaning.strip().replace("|", " or ")] for kind, meaning in (line.split(None, 1) for line in lines)
    ]
    return _table(["kind", "effect"], rows)


def report_schema() -> str:
    """Returns the JSON Schema of what ``verify --json`` prints."""
    return _schema("Report of airflow-audit-provider verify --json", PublishedReport)


def plan_schema() -> str:
    """Returns the JSON Schema of what ``plan --json`` prints."""
    return _schema("Plan of airflow-audit-provider plan --json", Plan)


def coverage_schema() -> str:
    """Returns the JSON Schema of ``coverage --json``."""
    return _schema("Coverage of airflow-audit-provider coverage --json", PublishedCoverage)


def freshness_schema() -> str:
    """Returns the JSON Schema of what ``freshness --json`` prints."""
    return _schema("Result of airflow-audit-provider freshness --json", FreshnessReport)


def reconcile_schema() -> str:
    """Returns the JSON Schema of what ``reconcile --json`` prints."""
    return _schema("Result of airflow-audit-provider reconcile --json", PublishedReconcile)


def written_report_schema() -> str:
    """Returns the JSON Schema of what ``report --json`` prints."""
    return _schema("Result of airflow-audit-provider report --json", WrittenReport)


def backtest_schema() -> str:
    """Returns the JSON Schema of what ``detect --dry-run --json`` prints."""
    return _schema("Report of airflow-audit-provider detect --dry-run --json", BacktestReport)


def result_schemas() -> dict[Path, str]:
    """Returns the JSON Schemas of what ``seal``, ``sweep``, ``pull`` and ``load`` print with ``--json``."""
    return {
        DOCS / "reference" / f"{name}-result.schema.json": _schema(
            f"Result of airflow-audit-provider {name} --json", described
        )
        for name, described in PUBLISHED.items()
    }


def _schema(title: str, described: type[msgspec.Struct]) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **msgspec.json.schema(described),
    }
    for definition in schema["$defs"].values():
        definition["description"] = " ".join(definition.get("description", "").replace("``", "").split())
    return json.dumps(schema, indent=2) + "\n"


def _output(module: str, *arguments: str) -> str:
    """Returns what ``python -m MODULE`` prints with these arguments."""
    return _outputs(module, [arguments])[0]


def _outputs(module: str, runs: Iterable[Iterable[str]]) -> list[str]:
    """Returns what ``python -m MODULE`` prints with the arguments of each run, all of them in one process."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", _RUN, module, json.dumps([list(arguments) for arguments in runs])]
    answer = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True)
    outputs: list[str] = json.loads(answer.stdout)
    return outputs


def _text(text: str) -> str:
    return f"```text\n{text}\n```"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    cells = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([cells[0], "|" + "---|" * len(lines[0]), *cells[1:]])


BLOCKS: dict[str, Callable[[], str]] = {
    "compatibility": compatibility,
    "cli-help": cli_help,
    "testing-help": testing_help,
    "misbehaviours": misbehaviours,
    "hook-parameters": parameters,
    "troubleshooting": troubleshooting,
    "ocsf-severity": ocsf_mapping.severities,
    "ocsf-measured": ocsf_mapping.measured,
    "ocsf-v1": ocsf_mapping.first_version,
    "ocsf-v2": ocsf_mapping.second_version,
    "ocsf-products": ocsf_mapping.known_products,
    "ocsf-sources": ocsf_mapping.named_sources,
    "detection-rules": detection_rules.rules,
    "detection-fields": detection_rules.derived_fields,
    "detection-texts": detection_rules.texts,
}


def main() -> int:
    """Writes every page and the picture."""
    for path in pages():
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"Wrote {path.relative_to(PROJECT)}")
    schemas = (
        (REPORT_SCHEMA, report_schema()),
        (PLAN_SCHEMA, plan_schema()),
        (COVERAGE_SCHEMA, coverage_schema()),
        (FRESHNESS_SCHEMA, freshness_schema()),
        (RECONCILE_SCHEMA, reconcile_schema()),
        (WRITTEN_REPORT_SCHEMA, written_report_schema()),
        (BACKTEST_SCHEMA, backtest_schema()),
        *result_schemas().items(),
    )
    for path, schema in schemas:
        path.write_text(schema, encoding="utf-8")
        print(f"Wrote {path.relative_to(PROJECT)}")
    return layer_picture.main()


if __name__ == "__main__":
    sys.exit(main())
