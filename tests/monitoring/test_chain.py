"""Metrics go the whole way: statsd packets, an exporter with the shipped mapping, Prometheus, the dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.monitoring.documented import PULL_TAGS, TAGS, documented, packets, prometheus_name
from tests.monitoring.exporter import MAPPING, MONITORING, Exporter, exporter
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.monitoring.waiting import poll_until, until_equal

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "monitor.md"
DASHBOARD = MONITORING / "grafana-dashboard.json"
GRID_WIDTH = 24


def panels() -> list[dict[str, Any]]:
    """Returns the panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    """Returns each query of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


class Chain(NamedTuple):
    """An exporter that has received each documented metric, and the Prometheus that scrapes it."""

    exporter: Exporter
    prometheus: Prometheus


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Each documented metric was sent twice, some seconds apart, so that rates exist."""
    folder = tmp_path_factory.mktemp("monitoring")
    with exporter(folder) as receiving, prometheus(folder, receiving) as scraping:
        receiving.send(packets())
        poll_until(
            lambda: len(scraping.query("count_over_time(cloudflare_audit_logs_fetch_requests_total[1h]) >= 3")) == 1,
            "three samples",
        )
        receiving.send(packets(failed=True))
        receiving.send(packets())
        yield Chain(receiving, scraping)


def test_panels_fill_the_grid_without_overlap() -> None:
    """Each panel has its own id and place, a title and queries."""
    places = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert {x for x, _ in places} == set(range(GRID_WIDTH))
    assert len({panel["id"] for panel in panels()}) == len(panels()) == len({panel["title"] for panel in panels()})
    assert all(panel["targets"] for panel in panels())


def test_dashboard_shows_each_documented_metric() -> None:
    """A metric that the reference documents is in a query, by its own name or by the recorded series."""
    text = "\n".join(expressions())
    for name, kind in documented().items():
        recorded = f"cloudflare_audit_logs:{name.replace('.', '_')}:day"
        assert prometheus_name(name, kind) in text or recorded in text, name


def _unit(panel: dict[str, Any], target: dict[str, Any]) -> str:
    """Returns the unit of a query: that of its panel, unless an override names its legend."""
    unit: str = panel["fieldConfig"]["defaults"]["unit"]
    for one in panel["fieldConfig"]["overrides"]:
        if re.fullmatch(one["matcher"]["options"], target["legendFormat"]):
            unit = next((each["value"] for each in one["properties"] if each["id"] == "unit"), unit)
    return unit


def test_counts_of_a_day_are_shown_without_a_unit() -> None:
    """A count in a panel of seconds would be shown as a duration."""
    for panel in panels():
        for target in panel["targets"]:
            assert ":day" not in target["expr"] or _unit(panel, target) == "short", target["expr"]


PREFIX = "*.cloudflare_audit_logs"


def test_mapping_names_each_kind_of_metric() -> None:
    """The first mapping that matches a metric gives it the name that rules and dashboard use."""
    _check_names("airflow", PREFIX)


def test_mapping_for_prefix_with_dot_as_the_page_writes_it_gives_the_same_names() -> None:
    """What the page says to write keeps the numbers of the parts that the names are made of."""
    written = re.search(r"such as\s+`prod\.airflow`, write\s+`([^`]*)`", PAGE.read_text())
    assert written is not None
    _check_names("prod.airflow", written[1])


def _check_names(prefix: str, beginning: str) -> None:
    mappings = yaml.safe_load(MAPPING.read_text().replace(PREFIX, beginning))["mappings"]
    types = {"counter": "counter", "timer": "observer", "gauge": "gauge"}
    for name, kind in documented().items():
        for mapping in mappings:
            pattern = mapping["match"].replace(".", r"\.").replace("*", r"([^.]*)")
            found = re.fullmatch(pattern, f"{prefix}.cloudflare_audit_logs.{name}")
            if found and mapping["match_metric_type"] == types[kind]:
                template = re.sub(r"\$\{(\d)\}", r"\\\1", mapping["name"])
                assert found.expand(template) == prometheus_name(name, kind)
                break
        else:
            pytest.fail(f"no mapping for {name}")


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["counter", "timer", "gauge"])
def test_each_metric_arrives_with_its_tags_as_labels(chain: Chain, kind: str) -> None:
    """Each documented metric is a series of Prometheus with the sum of the packets, and a label for each tag."""
    expected = {"counter": 9.0, "timer": 2.0, "gauge": 7.0}[kind]
    for name in (name for name, of in documented().items() if of == kind):
        labels = PULL_TAGS | TAGS.get(name, {}) | ({"state": "success"} if kind == "timer" else {})
        chosen = ",".join(f'{key}="{value}"' for key, value in labels.items())
        query = f"{prometheus_name(name, kind)}{'_count' if kind == 'timer' else ''}{{{chosen}}}"

        def read(query: str = query) -> list[float]:
            return [float(sample["value"][1]) for sample in chain.prometheus.query(query)]

        until_equal(read, [expected], name)


@pytest.mark.integration
def test_timers_are_seconds(chain: Chain) -> None:
    """A duration of 2,500 milliseconds is 2.5 seconds, in the bucket up to 5 seconds."""
    query = 'cloudflare_audit_logs_fetch_duration_seconds_bucket{state="failed",le=~"1|5"}'

    def read() -> dict[str, str]:
        return {sample["metric"]["le"]: sample["value"][1] for sample in chain.prometheus.query(query)}

    until_equal(read, {"1": "0", "5": "1"}, "the buckets")


@pytest.mark.integration
@pytest.mark.parametrize("expression", expressions())
def test_query_of_the_dashboard_returns_numbers(chain: Chain, expression: str) -> None:
    """Prometheus runs each query of the dashboard and returns a number."""
    asked = expression.replace("$__rate_interval", "1m")

    def has_number() -> bool:
        samples = chain.prometheus.query(asked)
        return bool(samples) and all(sample["value"][1] != "NaN" for sample in samples)

    poll_until(has_number, asked)


@pytest.mark.integration
def test_alerts_fire_for_what_was_sent(chain: Chain) -> None:
    """A gap, a severe finding, odd records and an unusable budget are alerts of this Prometheus."""
    expected = {f"CloudflareAuditLogs{name}" for name in ("Gap", "GapExpires", "Damaged", "OddRecords")}
    until_equal(chain.prometheus.firing, expected | {"CloudflareAuditLogsBudgetUnusable"}, "the alerts")
