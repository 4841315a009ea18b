"""Tests of what all flows share: names, retries, MLflow runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.states import Failed

from flows import steps
from tasks.config.root import Config
from tasks.runtime import manifest, storage
from tasks.training import defaults
from tests.support.schedules import REFUSED


def configured(**sections: Any) -> Config:
    return Config.model_validate({"name": "a", "data": {"path": "/data"}, **sections})


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionError(), True),
        (TimeoutError(), True),
        (OSError("AWS Error SLOW_DOWN during PutObject"), True),
        (OSError("AWS Error ACCESS_DENIED during PutObject"), False),
        (ValueError("AWS Error SLOW_DOWN"), False),
    ],
)
def test_only_passing_failures_are_retried(error: Exception, transient: bool) -> None:
    state: Any = Failed(data=error)
    assert steps.is_transient(None, None, state) is transient  # type: ignore[arg-type]


def test_a_version_is_named_by_number_or_alias() -> None:
    config = configured()
    assert steps.model_uri(config, "7") == "models:/a/7"
    assert steps.model_uri(config, "champion") == "models:/a@champion"


def test_results_of_a_kind_lie_below_the_storage() -> None:
    config = configured(resources={"storage": "s3://bucket/root"})
    assert steps.output_path(config, "scored") == "s3://bucket/root/a/scored/{key}"


def test_rows_without_sequences_are_read_where_they_lie() -> None:
    config = configured()
    assert steps.input_path(config) == "/data"
    assert steps.input_path(config, "/new") == "/new"
    assert steps.training_data(config) == config.data


def test_keys_of_artifacts_are_valid_in_prefect() -> None:
    assert steps.artifact_key("My_Model 2", "gate") == "my-model-2-gate"


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")],
)
def test_the_mlflow_run_ends_as_the_block_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
    status: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    ids = []
    for _ in range(2):  # The second retraining resumes the run of the first one.
        try:
            with steps.mlflow_run(configured(), REFUSED.prepare, None) as run_id:
                ids.append(run_id)
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt):
            pass
    assert ids[0] == ids[1]
    assert MlflowClient().get_run(ids[0]).info.status == status


def test_the_mlflow_run_has_numbers_in_place_of_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    prepared = replace(REFUSED.prepare, path=str(tmp_path))
    content = {"rows": prepared.rows, "columns": prepared.columns}
    storage.write_json(str(tmp_path / manifest.MANIFEST), content)
    config = steps.resolved_config(configured(train={"patience": 7}), prepared)
    with steps.mlflow_run(config, prepared, None) as run_id:
        params = MlflowClient().get_run(run_id).data.params
    chosen = defaults.choose(90, 1)
    assert params["train.epochs"] == str(chosen["train.epochs"].value)
    assert params["model.dropout"] == str(chosen["model.dropout"].value)
    assert params["train.patience"] == "7"
