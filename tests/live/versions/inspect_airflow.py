"""Inspects one Airflow from inside and writes the results as JSON; runs in that Airflow's environment.

Invariant: it imports only Airflow, the installed wheel and the standard library.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

DAG_ID = "cloudflare_audit_daily"
PROVIDER_COMMANDS = ("list", "hooks", "behaviours", "widgets")


@contextlib.contextmanager
def fake_cloudflare() -> Iterator[dict[str, str]]:
    """Starts the shipped fake as a separate server; yields its address."""
    command = [sys.executable, "-m", "airflow_audit_provider.testing", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


def truth(fake: dict[str, str], start: str, end: str) -> list[str]:
    """Returns the ids of every record the fake has in [start, end), in its order."""
    query = {"version": "v1", "start": start, "end": end}
    with build_opener(ProxyHandler({})).open(f"{fake['truth_url']}?{urlencode(query)}", timeout=60) as answer:
        return [json.loads(line)["id"] for line in answer.read().splitlines()]


def airflow(*arguments: str) -> str:
    """Runs one command of Airflow's own CLI in this process; returns its output."""
    main = importlib.import_module("airflow.__main__").main
    printed = io.StringIO()
    sys.argv = ["airflow", *arguments]
    with contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(
                    f"airflow {' '.join(arguments)} ended with {end.code}: {printed.getvalue()}"
                ) from end
    return printed.getvalue()


def providers() -> dict[str, Any]:
    """Returns the output of Airflow's provider commands."""
    return {name: airflow("providers", name, "--output", "json") for name in PROVIDER_COMMANDS}


def configuration() -> str:
    """Returns the output of Airflow's own command for the provider's section."""
    return airflow("config", "list", "--section", "cloudflare_audit_logs")


def in_child(question: Callable[[], Any]) -> Callable[[], Any]:
    """Calls a function in a child process before this one imports Airflow, because the call changes Airflow."""
    child = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    answer = child.submit(question)
    return answer.result


def form() -> dict[str, Any]:
    """Returns the connection form as the web interface builds it."""
    module = importlib.import_module("airflow.api_fastapi.core_api.services.ui.connections")
    (drawn,) = (each for each in module.HookMetaService.hook_meta_data() if each.connection_type == "cloudflare")
    shown: dict[str, Any] = json.loads(drawn.model_dump_json())
    return shown


def dag_bag() -> Any:
    """Returns the class that parses DAG files, from its place in this Airflow."""
    try:
        return importlib.import_module("airflow.dag_processing.dagbag").DagBag
    except ImportError:
        return importlib.import_module("airflow.models.dagbag").DagBag


def examples() -> dict[str, Any]:
    """Returns how the example DAGs parse: ids by file, import errors, and warnings raised by the provider's lines."""
    bag = dag_bag()(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    warned = [warning for found in bag.captured_warnings.values() for warning in found]
    ours = (os.environ["AIRFLOW__CORE__DAGS_FOLDER"], "airflow_audit_provider")
    return {
        "dags": {dag.dag_id: Path(dag.fileloc).name for dag in bag.dags.values()},
        "import_errors": {str(path): error for path, error in bag.import_errors.items()},
        "warnings": [warning for warning in warned if any(name in warning for name in ours)],
    }


def landed(folder: Path) -> list[str]:
    """Returns the ids of every record in the parts below a folder, in no particular order."""
    import gzip

    found = []
    for path in sorted(folder.rglob("*.jsonl.gz")):
        found += [json.loads(line)["id"] for line in gzip.decompress(path.read_bytes()).splitlines()]
    return found


def daily_run(home: Path, day: str, next_day: str) -> dict[str, Any]:
    """Runs the daily example for one day and compares the landed records with the fake's."""
    with fake_cloudflare() as fake:
        connection = {"conn_type": "cloudflare", "password": fake["token"], "host": fake["base_url"]}
        connection["extra"] = json.dumps({"account_id": fake["account_id"]})
        os.environ["AIRFLOW_CONN_CLOUDFLARE_DEFAULT"] = json.dumps(connection)
        # What the DAG processor does in real life; without it 3.0 knows of no asset the task may write to.
        airflow("dags", "reserialize")
        printed = airflow("dags", "test", DAG_ID, next_day)
        return {
            "printed": printed[-4000:],
            "landed": landed(home / "landed"),
            "manifests": [path.name for path in (home / "landed").rglob("_manifests/**/*.json")],
            "truth": truth(fake, f"{day}T00:00:00+00:00", f"{next_day}T00:00:00+00:00"),
        }


def where() -> dict[str, Any]:
    """Returns the version and folder of the package and of Airflow."""
    import airflow as package

    import airflow_audit_provider

    return {"file": airflow_audit_provider.__file__, "airflow": package.__version__}


def main(home: Path, day: str, next_day: str) -> None:
    """Writes each result, or the error that occurred instead, to report.json."""
    questions = {
        "where": where,
        "providers": providers,
        "examples": examples,
        "daily_run": lambda: daily_run(home, day, next_day),
        "form": in_child(form),
        "configuration": configuration,
    }
    report: dict[str, Any] = {}
    for name, question in questions.items():
        try:
            report[name] = question()
        # Whatever goes wrong is an answer too, and the next question is asked all the same.
        except BaseException:  # noqa: BLE001 -- the traceback is the report
            report[name] = {"error": traceback.format_exc()}
    (home / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
