import math

import pytest
import torch

from ar_models.distributions.decimal_intervals import FAR
from ar_models.distributions.interval_mass import interval_mass, one_minus_exp

EDGES = torch.tensor([-FAR, -2.0, -1.0, 0.5, 10.0, FAR], dtype=torch.float64)


def parameters() -> list[torch.Tensor]:
    """Return log-weights, locations and log-scales of three components."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 4, 3)
    weight, location, log_scale = (
        torch.randn(shape, generator=generator).double() for _ in range(3)
    )
    return [weight.log_softmax(-1), location, log_scale]


def test_masses_of_intervals_are_differences_of_the_cdf() -> None:
    log_weight, location, log_scale = parameters()

    mass = interval_mass(EDGES, EDGES.diff(), log_weight, location, log_scale)

    z = (EDGES - location.unsqueeze(-1)) / log_scale.exp().unsqueeze(-1)
    cdf = (log_weight.exp().unsqueeze(-1) * z.sigmoid()).sum(-2)
    torch.testing.assert_close(mass, cdf.diff(dim=-1))
    assert mass.sum(-1).flatten().tolist() == pytest.approx([1.0] * 8)


def test_gradients_are_those_of_finite_differences() -> None:
    given = [part.requires_grad_() for part in parameters()]
    assert torch.autograd.gradcheck(
        lambda *parts: interval_mass(EDGES[1:-1], EDGES[1:-1].diff(), *parts), given
    )


def test_parts_are_broadcast_over_many_intervals() -> None:
    given = [part.unsqueeze(-2).requires_grad_() for part in parameters()]
    edges = EDGES[1:-1] + torch.arange(5.0).double()[:, None]

    mass = interval_mass(edges, EDGES[1:-1].diff(), *given)
    mass.square().sum().backward()

    assert mass.shape == (2, 4, 5, 3)
    assert all(part.grad.shape == (2, 4, 1, 3) for part in given)


def test_small_masses_are_accurate() -> None:
    edges = torch.tensor([60.0, 60.001])
    one = torch.zeros(1)

    mass = interval_mass(edges, torch.tensor([0.001]), one, one, one)

    assert float(mass) == pytest.approx(0.001 * math.exp(-60), rel=1e-3)


def test_the_complement_of_an_exponential_is_accurate() -> None:
    x = torch.tensor([0.0, 1e-12, 1.0, FAR])
    expected = [0.0, 1e-12, 1 - math.exp(-1), 1.0]
    assert one_minus_exp(x).tolist() == pytest.approx(expected, rel=1e-6)
