"""Tests of the job that gives a model other calibration rows."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.config.data import DataConfig
from tasks.runtime import manifest, receipts, storage
from tasks.runtime.model_store import load
from tasks.training.recalibrate import SPLIT, calibration_data, recalibrate
from tests.support.tables import small_table


def test_the_same_rows_give_the_same_model(
    prepared: str, small_model: str, tmp_path: Path
) -> None:
    result = recalibrate(small_model, prepared, str(tmp_path / "{key}"), "3")
    before, after = load(small_model), load(result.path)
    assert result.fingerprint == before.info["fingerprints"]["model"]
    assert after.info["recalibrated"]["version"] == "3"
    assert result.calibration_rows == result.replaced_rows
    for name, scores in before.calibration.items():
        assert np.array_equal(scores, after.calibration[name], equal_nan=True)
    again = recalibrate(result.path, prepared, str(tmp_path / "{key}"), "4")
    assert again.done
    assert again.path == result.path


def test_a_dataset_prepared_with_another_encoder_is_refused(
    prepared: str, small_model: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(prepared, other)
    content = manifest.read_finished(prepared) | {"encoder": "0"}
    storage.write_json(str(other / "_manifest.json"), receipts.sealed(content))
    with pytest.raises(ValueError, match="another encoder"):
        recalibrate(small_model, str(other), str(tmp_path / "{key}"), None)


def test_new_rows_mostly_calibrate(small_model: str, tmp_path: Path) -> None:
    path = str(tmp_path / "new.parquet")
    pq.write_table(small_table(100, seed=9), path)
    data = DataConfig(path="elsewhere", id=("id",))
    chosen = calibration_data(data, path, small_model)
    assert (chosen.path, chosen.split) == (path, SPLIT)
    pq.write_table(small_table(100, seed=9).drop_columns("kind"), path)
    with pytest.raises(ValueError, match="with kind"):
        calibration_data(data, path, small_model)
