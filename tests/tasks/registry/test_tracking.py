"""What the runs of MLflow hold."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tasks.registry import tracking


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[None]:
    """A tracking store of its own."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.set_tracking_uri(before)


def test_names_that_no_param_may_have_stand_in_its_value() -> None:
    images = {"x*": {"height": 28, "width": 28}}
    columns = {"größe (m²)": {"kind": "real"}}
    config = {"name": "a", "data": {"images": images, "columns": columns, "id": ["k"]}}

    run_id = tracking.start("params", "key", config, {"dataset": "d"})

    params = mlflow.MlflowClient().get_run(run_id).data.params
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
