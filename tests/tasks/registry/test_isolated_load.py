"""Tests of loading a version without this project."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from ar_models.density.table_density import TableDensity
from tasks.registry import isolated_load
from tasks.registry.promotion import Promotion
from tests.support.densities import score_table
from tests.support.model_pair import ModelPair


def test_a_consumer_needs_neither_checkout_nor_ray_nor_prefect(
    first: Promotion, density: TableDensity, pair: ModelPair
) -> None:
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 20)
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
