"""Conditional distributions: exact values, bounds, entropies, quantiles."""

import math

import pytest
import torch

from tests.support.conditionals import MIXED, conditionals


def test_quantiles_invert_the_cdf() -> None:
    whole = conditionals(MIXED, count=50)
    numbers = torch.tensor([v.kind in ("integer", "real") for v in MIXED])
    for q in (0.001, 0.3, 0.5, 0.99):
        x = whole.quantile(q)
        reached = whole.cdf(x)[:, numbers]
        assert bool((reached >= q - 1e-6).all())
        integers = torch.tensor([v.kind == "integer" for v in MIXED])
        before = whole.cdf(x - 1)[:, integers]
        assert bool((before < q).all())
        reals = torch.tensor([v.kind == "real" for v in MIXED])
        near = whole.cdf(x)[:, reals]
        torch.testing.assert_close(near, torch.full_like(near, q), atol=1e-6, rtol=0)
        assert bool(x[:, ~numbers].isnan().all())


def test_samples_are_integers_within_their_bounds() -> None:
    whole = conditionals(MIXED, count=2000)
    x = whole.sample(torch.rand(2000, len(MIXED), 2, dtype=torch.float64))

    assert torch.equal(x[:, [2, 5]], x[:, [2, 5]].round())
    assert float(x[:, 2].min()) >= -3
    assert -5 <= float(x[:, 5].min()) <= float(x[:, 5].max()) <= 400
    assert bool(whole.log_prob(x).isfinite().all())


def test_uniform_numbers_of_0_and_1_give_finite_samples() -> None:
    whole = conditionals(MIXED, count=2)
    for edge in (0.0, 1.0 - 2**-24):
        x = whole.sample(torch.full((2, len(MIXED), 2), edge))
        assert bool(whole.log_prob(x).isfinite().all())


def test_probabilities_are_those_of_log_prob() -> None:
    whole = conditionals(MIXED, count=7)
    for i in (0, 3, 4):
        probabilities = whole.probabilities(i)
        for code in range(MIXED[i].size):
            x = torch.zeros(7, len(MIXED), dtype=torch.float64)
            x[:, i] = code
            expected = whole.log_prob(x)[:, i].exp()
            torch.testing.assert_close(probabilities[:, code], expected)
    with pytest.raises(ValueError, match="variable 1 has no codes"):
        whole.probabilities(1)


def test_absent_values_count_nothing() -> None:
    whole = conditionals(MIXED, count=3)
    x = torch.full((3, len(MIXED)), math.nan)

    assert torch.equal(whole.log_prob(x), torch.zeros(3, len(MIXED)).double())
    assert bool(whole.cdf(x).isnan().all())
