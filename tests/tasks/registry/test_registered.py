"""Tests of the list of registered versions, with and without MLflow."""

import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.registry import registered


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return path


def register_three() -> None:
    client = MlflowClient()
    experiment = client.create_experiment("a")
    for name, value in (("a", 1.5), ("a", 0.5), ("b", float("nan"))):
        run = client.create_run(experiment).info.run_id
        client.log_metric(run, "test/nll", 9.0)
        client.log_metric(run, "test/nll", value)
        if name not in [model.name for model in client.search_registered_models()]:
            client.create_registered_model(name)
        client.create_model_version(name, "file:///nowhere", run)
    client.set_registered_model_alias("a", "champion", "1")
    client.set_registered_model_alias("a", "previous", "1")
    client.set_model_version_tag("a", "1", "validation_status", "passed")
    client.create_model_version("b", "file:///nowhere")
    client.delete_model_version("b", "2")


def test_the_database_tells_what_the_client_does(database: Path) -> None:
    assert registered.list_versions(None) == []
    assert not database.exists()
    register_three()
    found = registered.list_versions(None)
    assert [(v["name"], v["version"]) for v in found] == [("a", 2), ("a", 1), ("b", 1)]
    assert found[1]["aliases"] == ["champion", "previous"]
    assert found[1]["validation_status"] == "passed"
    assert [v["test_nll"] for v in found] == [0.5, 1.5, None]
    by_client = registered.list_by_client(None)
    assert by_client[:2] == found[:2]
    assert by_client[2] | {"test_nll": None} == found[2]
    assert registered.list_versions("a") == registered.list_by_client("a") == found[:2]
    assert registered.list_versions("nobody") == []


def test_a_database_of_another_layout_is_left_to_the_client(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE model_versions (name TEXT)")
    connection.close()
    monkeypatch.setattr(registered, "list_by_client", lambda name: [{"name": name}])
    assert registered.list_versions("a") == [{"name": "a"}]
