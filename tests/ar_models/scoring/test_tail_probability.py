import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from ar_models.density.table_density import TableDensity
from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.scoring.statistics import score_batch
from ar_models.scoring.tail_probability import log_tail_probability, tail_probability
from ar_models.variables import Variable
from tests.support.densities import odd_row

VARIABLES = (
    Variable("a", "binary", 0, size=2),
    Variable("b", "categorical", 1, size=5),
    Variable("c", "integer", 2, lower=0.0, upper=9.0, atoms=(0.0, 4.0)),
    Variable("d", "integer", 3, location=7.0, scale=30.0),
    Variable("e", "real", 4, location=-1.0, scale=2.0),
    Variable("f", "categorical", 5, size=80),
)


def conditionals(count: int, seed: int = 0) -> Conditionals:
    """Return the conditionals of `count` rows, all different."""
    torch.manual_seed(seed)
    layout = ParameterLayout.of(VARIABLES, components=3, embedding=2)
    start = layout.initial_bias().expand(count, -1)
    return Conditionals(layout, start + 0.7 * torch.randn(count, layout.size))


def tails(
    density: TableDensity, table: pa.Table, noise: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the tail probability of every column."""
    encoded = density.encoder.encode(table)
    batch_scores = score_batch(density.model, encoded, "surprisal")
    found = batch_scores.conditionals
    return tail_probability(density.model.variables, found, encoded, noise=noise)


def test_the_tails_and_what_is_between_are_all_there_is() -> None:
    given = conditionals(500)
    x = given.sample(torch.rand(500, 6, 2))

    less, equal, more = given.log_tail_probs(x).exp().unbind(-1)

    torch.testing.assert_close(less + equal + more, torch.ones_like(x))
    numbers = [2, 3, 4]
    at_most = (less + equal)[:, numbers]
    torch.testing.assert_close(at_most, given.cdf(x)[:, numbers], atol=2e-6, rtol=1e-5)
    discrete = [0, 1, 2, 3, 5]
    mass = given.log_prob(x).exp()[:, discrete]
    assert bool((equal[:, discrete] >= mass - 1e-6).all())


def test_tails_are_told_apart_where_a_cdf_is_one() -> None:
    given = conditionals(3)
    x = torch.full((3, 6), torch.nan)
    x[:, 3] = torch.tensor([2.0**20, 2.0**21, 2.0**22])
    x[:, 4] = torch.tensor([2000.0, 4000.0, 8000.0])
    given.parameters[:] = given.parameters[0].clone()

    above = given.log_tail_probs(x)[:, [3, 4], 2]

    assert bool((given.cdf(x)[:, [3, 4]] > 1 - 1e-6).all())
    assert bool(above.isfinite().all())
    assert bool((above.diff(dim=0) < -1).all())


def test_the_order_of_codes_does_not_matter() -> None:
    variables = (Variable("a", "categorical", 0, size=6),)
    layout = ParameterLayout.of(variables)
    torch.manual_seed(0)
    logits, x = torch.randn(50, 6), torch.randint(6, (50, 1)).float()
    order = torch.randperm(6)

    one = Conditionals(layout, logits).log_tail_probs(x)
    other = Conditionals(layout, logits[:, order]).log_tail_probs(
        order.argsort()[x.long()].float()
    )

    torch.testing.assert_close(one, other)


def test_tail_probabilities_of_drawn_rows_are_uniform(
    density: TableDensity, rows: pa.Table
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((len(rows), density.encoder.dim))

    p = tails(density, rows, noise)

    # Kolmogorov's statistic exceeds 2.7 with odds of 1e-6, and there are 4 here.
    grid = (np.arange(len(p)) + 0.5) / len(p)
    distance = np.abs(np.sort(p, axis=0) - grid[:, None]).max(axis=0)
    assert (distance * math.sqrt(len(p)) < 2.7).all()
    # Columns do not depend on each other: 3 standard errors are 0.05.
    correlation = np.corrcoef(p.T) - np.eye(p.shape[1])
    assert np.abs(correlation).max() < 0.08


def test_tail_probabilities_without_noise_are_a_function_of_the_row(
    density: TableDensity, rows: pa.Table
) -> None:
    whole = tails(density, rows)
    np.testing.assert_allclose(tails(density, rows.slice(7, 5)), whole[7:12], rtol=1e-3)
    assert ((whole > 0) & (whole <= 1)).all()
    assert abs(whole.mean() - 0.55) < 0.1


@pytest.mark.parametrize(
    "cells, column",
    [
        ({"delay": 900}, "delay"),
        ({"delay": -55}, "delay"),
        ({"amount": 1e9}, "amount"),
        ({"carrier": "ZZ"}, "carrier"),
        ({"carrier": None}, "carrier"),
    ],
)
def test_an_extreme_value_has_a_small_tail_probability(
    density: TableDensity, cells: dict[str, object], column: str
) -> None:
    place = density.columns.index(column)
    usual, odd = tails(density, odd_row()), tails(density, odd_row(**cells))
    assert odd[0, place] < 0.05 < usual[0, place]


def test_a_far_value_has_a_finite_logarithm(density: TableDensity) -> None:
    encoded = density.encoder.encode(odd_row(amount=1e300))
    batch_scores = score_batch(density.model, encoded, "surprisal")
    found = log_tail_probability(
        density.model.variables, batch_scores.conditionals, encoded
    )
    assert np.isfinite(found).all()
    assert found.min() < -1000
