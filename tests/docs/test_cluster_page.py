"""The documents for Kubernetes are accepted by Airflow's own code, and agree with each other."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from tests.architecture.source_files import PROJECT

FOLDER = PROJECT / "docs" / "how-to" / "cluster"
POD, VALUES, SECRET = FOLDER / "pod-template.yaml", FOLDER / "values.yaml", FOLDER / "connections.yaml"


def read(path: Path) -> dict[str, Any]:
    """Returns the only document of a YAML file."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def as_kubernetes_reads(path: Path) -> dict[str, Any]:
    """Returns the pod of a file as Airflow's executor reads it; fields that Kubernetes does not have are missing."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    found: dict[str, Any] = ApiClient().sanitize_for_serialization(PodGenerator.deserialize_model_file(str(path)))
    return found


def unknown_settings(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns the settings, by section and name, that Airflow does not have."""
    from airflow.configuration import conf

    known = conf.configuration_description
    return [(section, name) for section, name in names if name not in known.get(section, {"options": {}})["options"]]


@pytest.mark.integration
def test_kubernetes_knows_each_field_of_the_pod(tmp_path: Path) -> None:
    """The pod that the executor reads has every field of the file, and a misspelt field is found."""
    assert as_kubernetes_reads(POD) == read(POD)
    misspelt = tmp_path / "pod.yaml"
    misspelt.write_text(POD.read_text().replace("serviceAccountName", "serviceAccount_name"))
    assert as_kubernetes_reads(misspelt) != read(misspelt)


@pytest.mark.integration
def test_rendered_pod_runs_the_task_beside_the_secrets() -> None:
    """A task's pod has the task's arguments, and the image, secrets, limits and volumes of the template."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes.client import ApiClient

    pod = PodGenerator.construct_pod(
        dag_id="land",
        task_id="land",
        pod_id="land-1",
        try_number=1,
        kube_image="",
        date=datetime(2026, 11, 1, tzinfo=UTC),
        args=["run", "the", "task"],
        pod_override_object=None,
        base_worker_pod=PodGenerator.deserialize_model_file(str(POD)),
        namespace="airflow",
        scheduler_job_id="1",
    )
    rendered = ApiClient().sanitize_for_serialization(pod)["spec"]
    template = read(POD)["spec"]
    (container,), (expected,) = rendered["containers"], template["containers"]
    added = [{"name": "AIRFLOW_IS_K8S_EXECUTOR_POD", "value": "True"}]
    assert container == {**expected, "args": ["run", "the", "task"], "env": [*expected["env"], *added]}
    assert {**rendered, "containers": []} == {**template, "containers": []}


def test_settings_of_the_documents_exist() -> None:
    """Airflow has each setting of the pod template and the values, and a misspelt setting is found."""
    variables = [entry["name"] for entry in read(POD)["spec"]["containers"][0]["env"]]
    of_pods = [tuple(name.lower().split("__")[1:]) for name in variables]
    of_values = [(section, name) for section, options in read(VALUES)["config"].items() for name in options]
    assert len(of_pods) == 7
    assert unknown_settings([*((section, name) for section, name in of_pods), *of_values]) == []
    assert unknown_settings([("scheduler", "heartbeats")]) == [("scheduler", "heartbeats")]


def test_values_have_the_pod_template_and_the_same_secrets() -> None:
    """The values contain the pod template, and both name one image and the secret of the connections."""
    values, (container,) = read(VALUES), read(POD)["spec"]["containers"]
    assert yaml.safe_load(values["podTemplate"]) == read(POD)
    image = values["images"]["airflow"]
    assert container["image"] == f"{image['repository']}:{image['tag']}"
    assert image["tag"] == values["airflowVersion"]
    assert yaml.safe_load(values["extraEnvFrom"]) == container["envFrom"]
    assert container["envFrom"] == [{"secretRef": {"name": read(SECRET)["metadata"]["name"]}}]


def test_connections_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider accepts the connection in the secret, and finds the server of the budget that it names."""
    connections = read(SECRET)["stringData"]
    assert connections.keys() == {
        f"AIRFLOW_CONN_{name}" for name in ("CLOUDFLARE_DEFAULT", "RATE_LIMIT", "AWS_DEFAULT")
    }
    assert [json.loads(text)["conn_type"] for text in connections.values()] == ["cloudflare", "redis", "aws"]
    for name, text in connections.items():
        monkeypatch.setenv(name, text)
    hook = CloudflareHook()
    assert hook.settings.rate_limit_conn_id == "rate_limit"
    assert f"AIRFLOW_CONN_{hook.settings.rate_limit_conn_id.upper()}" in connections
