"""Tests of the Grafana dashboard: its queries and the metrics that there are."""

import json
import re
from pathlib import Path
from typing import Any

from ray.dashboard.modules.reporter import reporter_agent
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker

from tasks.runtime import actors
from tasks.runtime.metrics import METRICS
from tests.support.prometheus import SUFFIXES, exported_names

FILE = Path(__file__).parents[2] / "infra" / "grafana" / "chainrule.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
QUERIES = [t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]]


def names(query: str) -> set[str]:
    """Return the names of metrics in a query."""
    return set(re.findall(r"\bray_\w+", query))


def shows(query: str, name: str) -> bool:
    """Return whether a query names one of the series of a metric."""
    series = {f"ray_{name}{suffix}" for suffix in SUFFIXES[METRICS[name].kind]}
    return not series.isdisjoint(names(query))


def labels(query: str) -> set[str]:
    """Return the labels that a query groups by, apart from those of Ray itself."""
    groups = re.findall(r"by \(([^)]*)\)", query)
    return {label.strip() for group in groups for label in group.split(",")}


def test_every_query_names_a_metric_that_is_exported() -> None:
    of_ray = {f"ray_{metric.name}" for metric in reporter_agent.METRICS_GAUGES.values()}
    for query in QUERIES:
        assert names(query), query
        assert names(query) <= exported_names() | of_ray, query


def test_every_metric_is_shown() -> None:
    for name in METRICS:
        assert any(shows(query, name) for query in QUERIES), name


def test_queries_group_by_labels_that_the_metric_has() -> None:
    for query in QUERIES:
        found = [m for name, m in METRICS.items() if shows(query, name)]
        if found:
            known = {"le"}.union(*(metric.tags for metric in found))
            assert labels(query) <= known, query
            legend = next(
                target["legendFormat"]
                for panel in DASHBOARD["panels"]
                for target in panel["targets"]
                if target["expr"] == query
            )
            assert set(re.findall(r"{{(\w+)}}", legend)) <= labels(query), query


def test_counters_are_shown_as_rates() -> None:
    for name, metric in METRICS.items():
        for query in QUERIES:
            if shows(query, name) and metric.kind != "gauge":
                assert f"rate(ray_{name}" in query, query


def test_gpu_shares_are_those_of_the_processes_that_compute() -> None:
    text = " ".join(QUERIES)
    for kind in (actors.Worker, RayTrainWorker):
        assert f'"ray::{kind.__name__}.*"' in text


def test_panels_have_titles_descriptions_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    for name in ("id", "title"):
        assert len({panel[name] for panel in panels}) == len(panels)
    assert len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels)
