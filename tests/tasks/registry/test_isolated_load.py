"""Tests of loading a version without this project."""

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest

from ar_models.density.table_density import TableDensity
from tasks.registry import (
    isolated_load,
)
from tasks.registry.promotion import Promotion
from tests.support.densities import score_table
from tests.support.model_pair import ModelPair


def test_a_consumer_needs_neither_checkout_nor_ray_nor_prefect(
    first: Promotion, density: TableDensity, pair: ModelPair
) -> None:
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 300)
    params = {"output": "score", "column_log_prob": True}
    found = isolated_load.predict("models:/alone/1", rows, params, clean=False)
    expected = score_table(density, rows)
    for name in ("log_prob", "anomaly_score", "p_value", "severity"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert found["explanation"][0][0]["expected"].as_py()


def test_the_gate_loads_a_version_as_a_consumer_would(
    first: Promotion, density: TableDensity, pair: ModelPair
) -> None:
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 20)
    found = isolated_load.log_prob("models:/alone/1", rows, clean=False)
    np.testing.assert_allclose(found, density.log_prob(rows), atol=1e-5)
    wrong = rows.drop_columns(["count"])
    with pytest.raises(RuntimeError, match="the columns .'count'. are missing"):
        isolated_load.log_prob("models:/alone/1", wrong, clean=False)


def test_a_version_runs_its_own_code_or_none(
    first: Promotion, pair: ModelPair, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    mlflow.artifacts.download_artifacts("models:/alone/1", dst_path=str(folder))
    shutil.rmtree(folder / "code" / "ar_models")
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 2)
    with pytest.raises(RuntimeError, match=r"No module named|code came from"):
        isolated_load.log_prob(str(folder), rows, clean=False)
