"""Tests of MLflow runs: params, metrics, artifacts, resumption."""

import json
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from tasks.registry import tracking


def test_names_that_no_param_may_have_stand_in_its_value() -> None:
    images = {"x*": {"height": 28, "width": 28}}
    columns = {"größe (m²)": {"kind": "real"}}
    config = {"name": "a", "data": {"images": images, "columns": columns, "id": ["k"]}}

    run_id = tracking.start("params", "key", config, {"dataset": "d"})

    params = MlflowClient().get_run(run_id).data.params
    assert set(params) == {"name", "data.images", "data.columns", "data.id"}
    assert json.loads(params["data.images"]) == images
    assert json.loads(params["data.columns"]) == columns
    assert tracking.start("params", "key", config, {"dataset": "d"}) == run_id


def test_names_that_a_param_may_have_are_joined_by_dots() -> None:
    config = {"model": {"hidden": 512}, "columns": {"order id": {"kind": "real"}}}

    assert tracking.flatten(config) == {
        "model.hidden": "512",
        "columns.order id.kind": "real",
    }


def test_a_run_of_the_same_job_is_resumed() -> None:
    config = {"model": {"hidden": 8}, "seed": 1}
    first = tracking.start("resumed", "key", config, {"dataset": "d"})
    tracking.finish(first, "FAILED")
    again = tracking.start("resumed", "key", config | {"workers": 2}, {"dataset": "d"})
    assert again == first
    run = MlflowClient().get_run(again)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"model.hidden": "8", "seed": "1", "workers": "2"}
    assert run.data.tags["fingerprint.dataset"] == "d"
    assert tracking.start("resumed", "other", config, {}) != first


def test_epochs_are_logged_once() -> None:
    run_id = tracking.start("epochs", "key", {}, {})
    record = {"epoch": 1, "train_nll": 3.0, "valid_nll": 2.0, "rows_per_s": 9.0}
    tracking.metrics_logger(run_id)(record)
    log = tracking.metrics_logger(run_id)
    log(record)
    log(record | {"epoch": 2, "valid_nll": 1.0})
    history = MlflowClient().get_metric_history(run_id, "valid/nll")
    assert [(m.step, m.value) for m in history] == [(1, 2.0), (2, 1.0)]
    metrics = MlflowClient().get_run(run_id).data.metrics
    assert metrics["train/nll"] == 3.0
    assert metrics["throughput/rows_per_s"] == 9.0


def test_artifacts_stand_below_the_storage(tmp_path: Path) -> None:
    run_id = tracking.start("artifacts", "key", {}, {})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_text("a")
    (tmp_path / "report.html").write_text("b")
    paths = [str(tmp_path / name) for name in ("figures", "report.html")]
    tracking.log_results(run_id, {"test/nll": 1.5}, artifacts=paths)
    run = MlflowClient().get_run(run_id)
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    database = Path(mlflow.get_tracking_uri().removeprefix("sqlite:///"))
    assert folder.is_relative_to(database.parent)
    assert (folder / "figures" / "a.png").read_text() == "a"
    assert (folder / "report.html").read_text() == "b"
    assert run.data.metrics == {"test/nll": 1.5}


def test_a_deleted_experiment_is_told() -> None:
    tracking.start("deleted", "key", {}, {})
    client = MlflowClient()
    experiment = client.get_experiment_by_name("deleted")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(ValueError, match="'deleted' is deleted; restore it"):
        tracking.start("deleted", "key", {}, {})


def test_the_page_of_a_run_is_on_the_server_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = tracking.start("page", "key", {}, {})
    assert tracking.run_page(run_id) is None  # a database has no pages
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    client = MlflowClient()
    monkeypatch.setattr(tracking, "MlflowClient", lambda: client)
    uri = "https://user:secret@mlflow:5000/"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    page = f"https://mlflow:5000/#/experiments/{experiment}/runs/{run_id}"
    assert tracking.run_page(run_id) == page
