"""The compiled loops give the entropies that the operations give."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ar_models import entropy, node_density
from ar_models.compiled import compiled

INF = torch.inf
LOWER = torch.tensor([0.0, -INF, -5.0, 3.0, 0.0, -1e6])
UPPER = torch.tensor([50.0, INF, 7.0, 3.0, 1.0, INF])


def mixtures(rows: int, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, locations and spreads, (rows, 6, 5) each."""
    generator = torch.Generator().manual_seed(0)

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(rows, 6, 5, generator=generator)

    return normal(3).softmax(-1), normal(size), normal(2).exp() * size


@pytest.mark.parametrize("size", [0.1, 3.0, 1e4])
@pytest.mark.parametrize(
    "rule",
    [
        entropy.of_normals,
        lambda *mixture: entropy.of_logistics(*mixture, LOWER, UPPER),
    ],
)
def test_loops_equal_operations(
    rule: Callable[..., Tensor], size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = mixtures(500, size)
    assert entropy.many(mixture[0])
    by_loop = rule(*mixture)
    alone = rule(*(t[3:4].expand(500, -1, -1) for t in mixture))
    monkeypatch.setattr(entropy, "MANY", 10**9)

    by_operations = rule(*mixture)

    torch.testing.assert_close(by_loop, by_operations, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone, by_loop[3].expand(500, -1), atol=1e-5, rtol=0)


def test_loops_are_left_to_what_they_can_do() -> None:
    many = torch.ones(500, 6, 5)
    assert entropy.many(many)
    assert not entropy.many(many[:10])
    assert not entropy.many(many.double())
    assert not entropy.many(many.requires_grad_())
    with torch.no_grad():
        assert entropy.many(many)


def test_powers_and_logarithms_are_exact_to_a_millionth() -> None:
    @compiled
    def both(x: np.ndarray, powers: np.ndarray, logarithms: np.ndarray) -> None:
        for r in range(len(x)):
            powers[r] = node_density.power_of_2(-x[r])
            logarithms[r] = node_density.logarithm(x[r])

    x = np.geomspace(1e-37, 99, 5000, dtype=np.float32)
    powers, logarithms = np.empty_like(x), np.empty_like(x)
    both(x, powers, logarithms)

    np.testing.assert_allclose(powers, np.exp2(-x.astype(np.float64)), rtol=1e-6)
    expected = np.log(x.astype(np.float64))
    np.testing.assert_allclose(logarithms, expected, rtol=1e-6, atol=1e-7)
