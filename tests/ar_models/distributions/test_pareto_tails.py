import math

import pytest
import torch

from ar_models.distributions.pareto_tails import ParetoTails, entropy

SHAPES = [(1.0, 0.05), (20.0, 0.3), (5000.0, 0.9)]

every_shape = pytest.mark.parametrize(("scale", "shape"), SHAPES)


def tails(scale: float, shape: float) -> ParetoTails:
    """Return one distribution in double precision."""
    return ParetoTails(*(torch.tensor(k, dtype=torch.float64) for k in (scale, shape)))


@every_shape
def test_probabilities_add_up(scale: float, shape: float) -> None:
    one, t = tails(scale, shape), torch.arange(20_000, dtype=torch.float64)

    mass = one.log_prob(t).exp()

    reached = mass.cumsum(0) + one.log_survival(t + 1).exp()
    torch.testing.assert_close(reached, torch.ones_like(t))
    torch.testing.assert_close(one.log_below(t + 1).exp(), mass.cumsum(0))
    assert float(one.log_below(t[:1])) == -math.inf


@every_shape
def test_single_precision_is_accurate(scale: float, shape: float) -> None:
    t = torch.tensor([0.0, 1.0, 100.0, 1e4, 8e6])
    single = ParetoTails(torch.tensor(scale), torch.tensor(shape))

    for found, expected in (
        (single.log_prob(t), tails(scale, shape).log_prob(t.double())),
        (single.log_survival(t), tails(scale, shape).log_survival(t.double())),
        (single.log_below(t + 1), tails(scale, shape).log_below(t.double() + 1)),
    ):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@every_shape
def test_quantiles_invert_the_survival_function(scale: float, shape: float) -> None:
    one, share = tails(scale, shape), torch.linspace(0.01, 1, 50, dtype=torch.float64)

    distance = one.quantile(share)

    torch.testing.assert_close(one.log_survival(distance).exp(), share)


@every_shape
@pytest.mark.parametrize("greatest", [0, 3, 900, 30_000, math.inf])
def test_entropies_are_sums(scale: float, shape: float, greatest: float) -> None:
    last = int(min(greatest, 4e6))
    t = torch.arange(last + 1, dtype=torch.float64)
    log_prob = tails(scale, shape).log_prob(t)
    log_prob[-1] = tails(scale, shape).log_survival(t[-1])

    found = entropy(scale, shape, greatest)

    expected = float(-(log_prob.exp() * log_prob).sum())
    assert found == pytest.approx(expected, abs=0.05 if greatest == math.inf else 1e-3)
