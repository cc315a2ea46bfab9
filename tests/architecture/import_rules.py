"""Rules on imports and on raised errors.

Invariant: it looks at every import statement, those inside functions and under TYPE_CHECKING too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from tests.architecture.source_files import AIRFLOW_LAYER, PACKAGE, SourceFile

# Layer (longest prefix wins) -> packages from outside the standard library it may import.
EXTERNAL: dict[str, set[str]] = {
    f"{PACKAGE}/": set(),
    f"{PACKAGE}/core/": {"msgspec", "pendulum", "rfc8785"},
    f"{PACKAGE}/formats/": {"msgspec", "isal", "zstandard"},
    f"{PACKAGE}/formats/arrow.py": {"pyarrow"},
    f"{PACKAGE}/formats/arrow_arrays.py": {"numpy", "pyarrow"},
    f"{PACKAGE}/formats/parquet.py": {"msgspec", "pyarrow"},
    f"{PACKAGE}/formats/sigma/": {"sigma"},
    f"{PACKAGE}/formats/sigma/documents.py": {"yaml"},
    f"{PACKAGE}/formats/sigma/matching.py": {"duckdb", "pyarrow"},
    f"{PACKAGE}/formats/warehouse_rows.py": {"msgspec", "pyarrow"},
    f"{PACKAGE}/adapters/": {"msgspec"},
    f"{PACKAGE}/adapters/budget/redis_store.py": {"redis"},
    f"{PACKAGE}/adapters/cloudflare/certificates.py": {"certifi"},
    f"{PACKAGE}/adapters/cloudflare/deadline.py": {"httpcore", "httpx"},
    f"{PACKAGE}/adapters/cloudflare/nested_tls.py": {"httpcore"},
    f"{PACKAGE}/adapters/cloudflare/proxies.py": {"httpx"},
    f"{PACKAGE}/adapters/cloudflare/http.py": {"httpx"},
    f"{PACKAGE}/adapters/storage/fsspec_store.py": {"fsspec"},
    f"{PACKAGE}/adapters/storage/s3_models.py": {"botocore", "msgspec"},
    f"{PACKAGE}/adapters/signing.py": {"cryptography", "msgspec", "securesystemslib"},
    f"{PACKAGE}/adapters/timestamps.py": {"cryptography", "httpx", "rfc3161_client"},
    f"{PACKAGE}/adapters/warehouses/clickhouse.py": {"pyarrow"},
    f"{PACKAGE}/adapters/warehouses/clickhouse_http.py": {"httpx"},
    f"{PACKAGE}/adapters/warehouses/duckdb.py": {"duckdb", "pyarrow"},
    f"{PACKAGE}/adapters/warehouses/delta.py": {"deltalake", "pyarrow"},
    f"{PACKAGE}/adapters/warehouses/delta_conditions.py": {"botocore"},
    f"{PACKAGE}/adapters/warehouses/delta_files.py": {"deltalake", "pyarrow"},
    f"{PACKAGE}/adapters/warehouses/delta_ledger.py": {"pyarrow"},
    f"{PACKAGE}/adapters/warehouses/delta_schema.py": {"deltalake", "pyarrow"},
    f"{PACKAGE}/adapters/warehouses/postgres.py": {"pyarrow"},
    f"{PACKAGE}/adapters/warehouses/iceberg.py": {"pyarrow", "pyiceberg"},
    f"{PACKAGE}/adapters/warehouses/iceberg_commits.py": {"pyiceberg"},
    f"{PACKAGE}/adapters/warehouses/iceberg_schema.py": {"pyiceberg"},
    f"{PACKAGE}/pipelines/": {"msgspec"},
    f"{PACKAGE}/testing/": {"httpx", "msgspec"},
    **{path: {"airflow", "pendulum", "msgspec"} for path in AIRFLOW_LAYER},
    f"{PACKAGE}/hooks/": {"airflow", "httpx", "msgspec"},
    f"{PACKAGE}/cli/completion_command.py": {"argcomplete"},
    # The web server's own libraries and its database; they come with Airflow.
    f"{PACKAGE}/_airflow/coverage_page/": {
        *("airflow", "msgspec", "pendulum"),
        *("fastapi", "jinja2", "markupsafe", "sqlalchemy", "starlette"),
    },
    # Templates; the library comes with Airflow.
    f"{PACKAGE}/_airflow/html_templates.py": {"jinja2", "markupsafe"},
    # The thread a triggerer of an older Airflow can be asked from; it comes with Airflow.
    f"{PACKAGE}/_airflow/compat.py": {"airflow", "asgiref"},
    # Opens Google Cloud Storage with a connection's key where Airflow's Google provider is not installed.
    f"{PACKAGE}/_airflow/google_storage.py": {"airflow", "gcsfs", "google"},
    # Airflow before 3.2 draws the connection form from these widgets.
    f"{PACKAGE}/_airflow/connection_form.py": {"wtforms"},
}


def external_imports(source: SourceFile) -> list[str]:
    """A layer imports only the packages that it is allowed to import."""
    allowed = EXTERNAL[max((prefix for prefix in EXTERNAL if source.path.startswith(prefix)), key=len)]
    return [
        f"{source.path}:{line} imports {name}, which this layer must not know"
        for line, name in imports(source)
        if (top := name.split(".")[0]) != PACKAGE and top not in sys.stdlib_module_names and top not in allowed
    ]


def hidden_imports(source: SourceFile) -> list[str]:
    """A module whose name is known is imported by a statement, which the import contracts can see."""
    return [
        f"{source.path}:{node.lineno} imports {ast.unparse(node.args[0])} by a call; write an import statement"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}
        if node.args and isinstance(node.args[0], ast.Constant)
    ]


def no_imports(source: SourceFile) -> list[str]:
    """Airflow reads the declaration in every process, so it imports nothing."""
    return [f"{source.path}:{line} imports {name}" for line, name in imports(source)]


def testing_imports(source: SourceFile) -> list[str]:
    """The shipped fake imports only the core and the errors."""
    known = (f"{PACKAGE}.core", f"{PACKAGE}.exceptions", f"{PACKAGE}.testing")
    return [
        f"{source.path}:{line} imports {name}, which a test double must not know"
        for line, name in imports(source)
        if name.startswith(f"{PACKAGE}.") and not name.startswith(known)
    ]


def imports_from_tests(source: SourceFile) -> list[str]:
    """No module imports from a test module; shared code is in a helper module."""
    return [
        f"{source.path}:{line} imports {name}; move what is shared to a helper module"
        for line, name in imports(source)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")[1:])
    ]


def imports(source: SourceFile) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of every import."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def bare_raises(source: SourceFile) -> list[str]:
    """No statement raises ``AirflowException``, ``Exception`` or ``BaseException``, which state no remedy."""
    banned = {"AirflowException", "Exception", "BaseException"}
    return [
        f"{source.path}:{node.lineno} raises {_raised(node)}"
        for node in source.nodes
        if isinstance(node, ast.Raise) and _raised(node).rsplit(".", 1)[-1] in banned
    ]


def _raised(node: ast.Raise) -> str:
    """Returns the name of what a statement raises."""
    error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return ast.unparse(error) if error is not None else ""
