"""The machines of a cluster on one host have no folder in common."""

from __future__ import annotations

from pathlib import Path

from harness.machine import Machine

SHARED = {
    "HOME": "/home/user",
    "TMPDIR": "/tmp",
    "AIRFLOW_HOME": "/installation/airflow",
    "AIRFLOW__CORE__DAGS_FOLDER": "/installation/dags",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": "/installation/airflow/logs",
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW_CONN_BUCKET": "aws://",
}


def made(tmp_path: Path, name: str) -> Machine:
    """Returns a machine whose folders exist, with one DAG file."""
    dags = tmp_path / "dags"
    dags.mkdir(exist_ok=True)
    (dags / "land.py").write_text("dag")
    machine = Machine(name, tmp_path / name, 8793)
    machine.create(dags)
    return machine


def test_environment_has_no_path_outside_the_machine(tmp_path: Path) -> None:
    """Each variable with a path leads into the machine's folder, and what is no path is that of the installation."""
    machine = made(tmp_path, "one")
    seen = machine.environ(SHARED)
    paths = {name: value for name, value in seen.items() if value.startswith("/")}
    assert SHARED.keys() - paths.keys() == {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_BUCKET"}
    assert all(Path(value).is_relative_to(machine.folder) for value in paths.values())
    assert seen["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_lost_machine_leaves_the_others_alone(tmp_path: Path) -> None:
    """A machine's loss removes its folders, its copy of the DAG files included, and no others."""
    lost, kept = made(tmp_path, "one"), made(tmp_path, "two")
    lost.lose()
    assert not lost.folder.exists()
    assert (kept.folder / "dags" / "land.py").read_text() == "dag"
    assert (tmp_path / "dags" / "land.py").exists()
