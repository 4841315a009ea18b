"""Tests of the flows from raw data to a registered model."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from mlflow import MlflowClient

from flows.cli.execution import ExitCode
from tests.support.project import Project
from tests.support.tables import small_table


def test_retrain_registers_the_first_version_as_champion(
    retrained: dict[str, Any],
) -> None:
    assert retrained["status"] == "done"
    assert retrained["register"]["version"] == "1"
    assert retrained["register"]["alias"] == "champion"
    assert sum(retrained["prepare"]["rows"].values()) == 1500
    assert Path(retrained["report"]).stat().st_size > 1000


def test_a_challenger_that_is_not_better_is_refused(challenger: dict[str, Any]) -> None:
    assert challenger["status"] == "refused"
    assert challenger["register"]["alias"] == "challenger"
    failed = [c["name"] for c in challenger["gate"]["checks"] if not c["passed"]]
    assert "improvement" in failed
    page = Path(challenger["report"]).read_text()
    assert "<h2>Promotion gate</h2>" in page
    assert "column/count" in page
    run = MlflowClient().get_run(challenger["run_id"])
    assert run.data.metrics["gate/improvement_passed"] == 0


def test_data_that_fails_validation_is_not_learned_from(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    table = small_table(seed=1)
    column = table.schema.get_field_index("count")
    table = table.set_column(column, "count", pa.nulls(len(table), pa.int64()))
    pq.write_table(table, tmp_path / "bad.parquet")
    before = project.files()
    data = ["--data", str(tmp_path / "bad.parquet")]
    content = project.json("retrain", *data, code=ExitCode.REFUSED)
    assert content["train"] is None
    assert "column count: 100.0% nulls" in content["data_validation"]["reason"]
    assert not [f for f in project.files().keys() - before.keys() if "/models/" in f]


def test_retraining_starts_from_the_champion(
    project: Project, retrained: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(project.data, tmp_path / "data")
    pq.write_table(small_table(600, seed=2), tmp_path / "data" / "part-1.parquet")
    settings = {
        "train.init_from": "champion",
        "train.replay_ratio": 1.0,
        "train.learning_rate": 1e-9,  # The first weights stay.
        "gate.min_rows": 100_000,  # The champion stays.
    }
    changes = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
    data = ["--data", str(tmp_path / "data")]
    result = project.json("retrain", *data, *changes, code=ExitCode.REFUSED)
    start = result["train"]["warm_start"]
    assert result["start"]["version"] == "1"
    assert result["prepare"]["encoder"] == retrained["prepare"]["encoder"]
    assert 0 < start["old_rows"] <= start["new_rows"] < start["available_old_rows"]
    first_epoch = retrained["train"]["history"][0]["valid_nll"]
    assert result["train"]["valid_nll"] < first_epoch


def test_synthetic_rows_are_compared_and_logged(
    project: Project, retrained: dict[str, Any]
) -> None:
    options = ["--samples", "auto", "--target", "late", "--set", "fidelity.rows=400"]
    content = project.json("evaluate", *options)
    metrics = content["fidelity"]["metrics"]
    assert Path(content["fidelity"]["page"]).exists()
    logged = MlflowClient().get_run(retrained["run_id"]).data.metrics
    assert logged["samples/two_sample_auc"] == metrics["samples/two_sample_auc"]
    shown = project.run("evaluate", *options).stdout
    assert "two sample auc" in " ".join(shown.split())
