from dataclasses import replace

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.registry.gate import quality
from tasks.registry.gate.predictions import Predictions

SETTINGS = GateConfig(load_check="none")


def test_an_improvement_within_the_noise_is_refused() -> None:
    rng = np.random.default_rng(0)
    assert not quality.check_improvement(rng.normal(0.01, 1, 1000), SETTINGS).passed
    assert quality.check_improvement(rng.normal(0.3, 1, 1000), SETTINGS).passed
    asking = GateConfig(min_improvement=0.5)
    assert not quality.check_improvement(rng.normal(0.3, 1, 1000), asking).passed


def test_a_segment_that_gets_worse_is_found_behind_a_better_mean() -> None:
    rng = np.random.default_rng(0)
    where = np.array(["north"] * 900 + ["south"] * 300 + ["tiny"] * 20)
    gains = rng.normal(1.0, 1, 1220)
    gains[900:1200] -= 3
    config = GateConfig(segments=("where",))
    assert quality.check_improvement(gains[:1000], config).passed
    checks = quality.check_segments(gains, pa.table({"where": where}), config)
    assert {c.name: c.passed for c in checks} == {
        "segment/where=north": True,
        "segment/where=south": False,
    }


def test_rows_of_no_segment_are_one(rows: pa.Table) -> None:
    table = pa.table({"where": pa.array(["a", None] * 300)})
    checks = quality.check_segments(
        np.zeros(600), table, GateConfig(segments=("where",))
    )
    assert [c.name for c in checks] == ["segment/where=a", "segment/where=missing"]


def test_a_column_that_gets_worse_is_found_behind_a_better_mean(
    strong: TableDensity, predictions: Predictions
) -> None:
    columns = predictions.columns.copy()
    columns[:, 1] -= 1.0
    columns[:, 0] += 5.0
    worse = replace(predictions, columns=columns)
    checks = quality.check_columns(strong, strong, worse, predictions, SETTINGS)
    assert [c.name for c in checks if not c.passed] == [f"column/{strong.columns[1]}"]


def test_a_probability_of_nothing_is_refused(predictions: Predictions) -> None:
    columns = predictions.columns.copy()
    columns[3] = -np.inf
    columns[5] = np.nan
    check = quality.check_finite(replace(predictions, columns=columns))
    assert (check.value, check.passed) == (2, False)
    assert quality.check_finite(predictions).passed


def test_one_score_for_all_rows_is_refused(
    strong: TableDensity, rows: pa.Table, predictions: Predictions
) -> None:
    assert quality.check_diversity(predictions, strong, rows, SETTINGS).passed
    dull = replace(predictions, scores=np.ones_like(predictions.scores))
    assert not quality.check_diversity(dull, strong, rows, SETTINGS).passed
