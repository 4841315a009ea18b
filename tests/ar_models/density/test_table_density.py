import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.table_density import TableDensity
from tests.support.densities import (
    awkward_table,
    odd_row,
    sample_table,
    score_table,
    table_density,
)


def test_a_rows_log_prob_adds_up_over_its_columns(
    density: TableDensity, rows: pa.Table
) -> None:
    scored = score_table(density, rows, explain="none", column_log_prob=True)
    each = np.array(
        [list(row.values()) for row in scored["column_log_prob"].to_pylist()]
    )
    np.testing.assert_allclose(each.sum(axis=1), scored["log_prob"], atol=1e-9)
    np.testing.assert_allclose(each, density.column_log_prob(rows), atol=1e-5)


def test_log_prob_is_that_of_the_network_in_units_of_the_columns(
    density: TableDensity,
) -> None:
    row = odd_row(amount=10.0)
    encoded = density.encoder.encode(row)
    with torch.inference_mode():
        network = density.model.variable_log_prob(torch.from_numpy(encoded.x))
    # Between the knots 5 and 20 the score rises by 1 in 15 units.
    expected = float(network.sum()) + 4 * math.log(1 - 1 / 1002) - math.log(15)
    assert density.log_prob(row)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("orderings", [1, 3])
def test_the_expected_excess_of_the_models_own_samples_is_zero(orderings: int) -> None:
    density = table_density(orderings=1)
    if orderings > 1:
        density = table_density(orderings=orderings, ordering="random")
    excess = density.reference_scores(sample_table(density, 20_000, seed=3))["excess"]
    # Five standard errors: fails by chance once in a million seeds.
    assert abs(excess.mean()) < 5 * excess.std() / math.sqrt(len(excess)) + 0.02


def test_no_rows_give_no_scores(density: TableDensity, rows: pa.Table) -> None:
    scored = score_table(density, rows.slice(0, 0), column_log_prob=True)
    assert len(scored) == 0
    assert scored.schema.equals(score_table(density, rows, column_log_prob=True).schema)
    assert density.log_prob(rows.slice(0, 0)).shape == (0,)
    assert sample_table(density, 0, seed=0).schema.equals(rows.schema)


def test_features_have_a_row_each(density: TableDensity, rows: pa.Table) -> None:
    features = density.features(rows)
    assert len(features) == len(rows)
    assert features.std(axis=0).max() > 0


def test_an_unknown_statistic_is_refused(density: TableDensity) -> None:
    with pytest.raises(ValueError, match="statistic must be one of"):
        score_table(density, odd_row(), statistic="surprise")  # type: ignore[arg-type]


def test_a_statistic_that_the_family_cannot_tell_is_refused(
    density: TableDensity,
) -> None:
    assert "leave_one_out" not in density.calibration
    with pytest.raises(ValueError, match="'leave_one_out' needs a model that predicts"):
        score_table(density, odd_row(), statistic="leave_one_out")


def test_a_statistic_without_calibration_scores_is_refused(
    learned: TableDensity,
) -> None:
    known = {n: v for n, v in learned.calibration.items() if n != "marginal_tail"}
    old = TableDensity(learned.encoder, learned.model, known)
    with pytest.raises(ValueError, match="'marginal_tail' has no calibration scores"):
        score_table(old, awkward_table(3), statistic="marginal_tail")
