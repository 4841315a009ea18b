"""Tests of the links between the pages of a run."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.runtime import flow_run

from flows import links
from tasks.registry import tracking
from tasks.runtime import cluster, environment

PAGE = "http://prefect:4200/flow-runs/flow-run/f1"
RAY = "http://10.0.0.7:8265"


@pytest.fixture
def run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of an MLflow run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tracking.start("orders", "k1", {}, {})


@pytest.fixture
def artifacts(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the link artifacts that are created, by description."""
    found: dict[str, str] = {}

    def create(link: str, *, link_text: str, description: str) -> None:
        found[description] = link

    monkeypatch.setattr(links, "create_link_artifact", create)
    return found


def on_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a flow runs on a Prefect server and a Ray cluster with pages."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.delenv(environment.EMBEDDED_SERVER, raising=False)
    monkeypatch.setattr(links, "flow_run", type("FlowRun", (), {"ui_url": PAGE}))
    monkeypatch.setattr(cluster, "dashboard_url", lambda: RAY)


def tags(run_id: str) -> dict[str, Any]:
    """Return the tags of an MLflow run that are links."""
    found = MlflowClient().get_run(run_id).data.tags
    return {name: found.get(tag) for name, tag in links.TAGS.items()}


def test_pages_that_are_known_are_linked_with_each_other(
    run_id: str, artifacts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_servers(monkeypatch)
    page = f"http://mlflow:5000/#/experiments/1/runs/{run_id}"
    monkeypatch.setattr(tracking, "run_page", lambda _: page)
    links.link_pages(run_id)
    assert tags(run_id) == {"prefect": PAGE, "ray": RAY}
    assert artifacts == {"MLflow run": page, "Ray": RAY}


def test_a_server_that_a_command_started_itself_has_no_page(
    run_id: str, artifacts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_servers(monkeypatch)
    monkeypatch.setattr(cluster, "dashboard_url", lambda: None)
    monkeypatch.setenv(environment.EMBEDDED_SERVER, "http://127.0.0.1:1/api")
    links.link_pages(run_id)
    assert tags(run_id) == {"prefect": None, "ray": None}
    assert artifacts == {}


def test_the_page_of_a_flow_run_is_that_of_prefect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert hasattr(flow_run, "ui_url")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert links.flow_run_page() is None
