"""Tests of the predictions that the gate compares."""

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.registry.gate.predictions import Predictions


def test_predictions_are_those_of_the_density(
    predictions: Predictions, strong: TableDensity, rows: pa.Table
) -> None:
    expected = strong.log_prob(rows)
    np.testing.assert_allclose(predictions.log_prob, expected, atol=1e-5)
    assert predictions.p_values is not None
    assert predictions.scores.shape == predictions.p_values.shape == (len(rows),)
    assert list(predictions.ks) == strong.columns
    assert all(0 <= distance < 0.5 for distance in predictions.ks.values())
