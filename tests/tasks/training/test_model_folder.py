"""Tests of the folder of a trained model."""

import numpy as np

from tasks.runtime import storage
from tasks.runtime.model_store import load
from tasks.training import model_folder


def test_calibration_rows_are_scored_by_every_statistic(
    prepared: str, small_model: str
) -> None:
    density = load(small_model)
    rows = sum(map(len, model_folder.calibration_batches(prepared)))
    scores = model_folder.calibration_scores(density, prepared, rows)
    assert scores.keys() == density.calibration.keys()
    for statistic, values in scores.items():
        assert len(values) == rows
        np.testing.assert_allclose(values, density.calibration[statistic], atol=1e-4)


def test_a_model_records_how_its_dataset_was_split(prepared: str) -> None:
    content = storage.read_json(f"{prepared}/_manifest.json")
    rule = model_folder.split_rule(prepared, content)
    assert rule["config"]["id"] == ["id"]
    assert len(rule["contents"]) == len(content["sources"])
