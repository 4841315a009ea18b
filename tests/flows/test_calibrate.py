"""Tests of calibrating a registered version on other rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from flows.cli.execution import ExitCode
from tests.support.project import Project, on_one_line
from tests.support.tables import small_table


def moved_rows(path: Path) -> Path:
    """Write rows whose column `paid` is larger than in the training rows."""
    table = small_table(3000, seed=5)
    index = table.schema.get_field_index("paid")
    paid = pc.multiply(table["paid"], 20.0)
    pq.write_table(table.set_column(index, "paid", paid), path)
    return path


@pytest.fixture(scope="module")
def calibrated(
    project: Project,
    retrained: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Return the JSON of a calibration on rows that have moved."""
    path = moved_rows(tmp_path_factory.mktemp("moved") / "new.parquet")
    return project.json("calibrate", "--input", str(path), "--model-version", "1")


def test_p_values_are_uniform_after_calibration(
    project: Project, calibrated: dict[str, Any]
) -> None:
    register = calibrated["register"]
    assert register["promoted"], register["reason"]
    ks = calibrated["evaluate"]["metrics"]["test/p_value_ks"]
    improved = next(
        c for c in calibrated["gate"]["checks"] if c["name"] == "improvement"
    )
    assert improved["value"] > 0.2
    assert ks < 0.1
    version = MlflowClient().get_model_version("small", register["version"])
    assert version.tags["calibrated_from"] == "1"
    assert calibrated["calibrate"]["calibration_rows"] > 1500
    MlflowClient().set_registered_model_alias("small", "champion", "1")


def test_log_probabilities_stay(
    project: Project, calibrated: dict[str, Any], tmp_path: Path
) -> None:
    found = {}
    for version in ("1", calibrated["register"]["version"]):
        output = tmp_path / version
        arguments = ("--output", str(output), "--model-version", version)
        project.json("score", *arguments)
        found[version] = pq.read_table(output)
    before, after = found.values()
    assert np.array_equal(before["log_prob"], after["log_prob"])
    assert not np.array_equal(before["p_value"], after["p_value"])


def test_rows_that_the_model_was_trained_on_are_refused(
    project: Project, retrained: dict[str, Any]
) -> None:
    ended = project.run("calibrate", "--input", str(project.data))
    assert ended.exit_code == ExitCode.FAILED
    assert "was trained on rows of this file" in on_one_line(ended.output)


def test_calibration_on_its_own_rows_gives_the_same_version(
    project: Project, calibrated: dict[str, Any]
) -> None:
    content = project.json("calibrate", "--model-version", "1")
    assert content["register"]["version"] == "1"
    assert content["calibrate"]["calibration_rows"] == 158
