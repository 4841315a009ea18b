import itertools

import numpy as np
import pyarrow as pa
import pytest

from ar_models.density.violation_weights import weighted_inequalities
from ar_models.tables.inequality import Inequality
from tests.support.densities import sample_table
from tests.support.inequalities import FAMILIES, ordered_density, ordered_encoder
from tests.support.inequalities import ordered_table as table_of

CELLS = list(itertools.product(range(6), ["x", "y"], range(6)))


def every_row() -> pa.Table:
    low, kind, high = zip(*CELLS, strict=True)
    return pa.table({"low": low, "kind": kind, "high": high})


@pytest.mark.parametrize("family", FAMILIES)
def test_violations_are_as_frequent_as_in_training(family: str) -> None:
    density = ordered_density(family)
    drawn = sample_table(density, 8192, seed=3)
    rate = np.greater(drawn["low"], drawn["high"]).mean()
    assert 0.004 < rate < 0.018  # 1 % of the training rows
    density.encoder = density.encoder.without_weights()
    free = sample_table(density, 8192, seed=3)
    assert np.greater(free["low"], free["high"]).mean() > 0.2


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "vae"])
def test_probabilities_sum_to_one_and_are_those_of_samples(family: str) -> None:
    density = ordered_density(family)
    shares = np.exp(density.log_prob(every_row()))
    assert shares.sum() == pytest.approx(1, abs=0.02)
    drawn = sample_table(density, 16384, seed=4)
    cells = list(zip(*(drawn[n].to_pylist() for n in drawn.column_names), strict=True))
    seen = np.array([cells.count(cell) for cell in CELLS]) / len(cells)
    error = np.sqrt(shares / len(cells))
    assert (np.abs(seen - shares) < 5 * error + 0.02 * shares).all()


def test_a_violation_of_what_always_held_is_rare_but_possible() -> None:
    density = ordered_density("made", wrong=0)
    row = pa.table({"low": [4], "kind": ["x"], "high": [2]})
    assert -25 < density.log_prob(row)[0] < np.log((2000 + 2) ** -2) + 3
    drawn = sample_table(density, 4096, seed=5)
    assert not np.greater(drawn["low"], drawn["high"]).any()


def test_given_cells_decide_what_is_drawn() -> None:
    density = ordered_density("made", ordering=[[0, 1, 2]])
    drawn = sample_table(density, 500, seed=1, given={"low": 4})
    assert set(drawn["low"].to_pylist()) == {4}
    assert np.less(drawn["high"], 4).mean() < 0.1
    # A row that violates the inequality by its given cells is returned as it is.
    both = sample_table(density, 5, seed=1, given={"low": 4, "high": 2})
    assert both["high"].to_pylist() == [2] * 5


def test_completions_by_weights_know_the_inequality() -> None:
    density = ordered_density("made", ordering=[[0, 1, 2]])
    drawn = sample_table(density, 500, seed=1, given={"high": 1})
    assert np.greater(drawn["low"], 1).mean() < 0.1


def test_weights_give_the_rates_of_overlapping_inequalities() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(100_000) < 0.1
    violated = np.stack([first, first & (rng.random(100_000) < 0.5)], axis=1)
    known = [
        Inequality("a", "<=", "b", rows=9998, violations=99),
        Inequality("a", "<=", "c", rows=9998, violations=9),
    ]
    found = weighted_inequalities(known, violated)
    logs = np.array([each.log_weight for each in found])
    shares = np.exp(violated @ logs + sum(each.log_mass for each in found))
    assert shares.mean() == pytest.approx(1, abs=1e-3)
    rates = (shares[:, None] * violated).mean(axis=0)
    np.testing.assert_allclose(rates, [0.01, 0.001], rtol=0.01)


def test_a_model_that_violates_less_often_stays_as_it_is() -> None:
    known = [Inequality("a", "<=", "b", rows=98, violations=49)]
    (found,) = weighted_inequalities(known, np.zeros((1000, 1), bool))
    assert (found.log_weight, found.log_mass) == (0, 0)


def test_the_fingerprint_of_an_encoder_is_that_of_the_prepared_dataset() -> None:
    encoder = ordered_encoder(table_of())
    fitted = ordered_density("made").encoder
    assert fitted.inequalities[0].log_weight < -1
    assert fitted.fingerprint == encoder.fingerprint
    plain = encoder.with_inequalities([])
    assert plain.fingerprint != encoder.fingerprint
    restored = type(fitted).from_dict(fitted.to_dict())
    assert restored.inequalities == fitted.inequalities
