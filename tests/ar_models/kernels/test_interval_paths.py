import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.kernels import compiled
from tests.support.kernels import TREES, check_kernel, conditionals


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
def test_entropies_are_as_exact_as_by_operations(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_kernel(lambda given, x: given.entropy(), size, monkeypatch, TREES)


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
def test_samples_and_quantiles_are_those_by_operations(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, _ = conditionals(size, TREES)
    shape = (len(given.parameters), len(TREES))
    noise = torch.rand(*shape, 2)

    def values(given: Conditionals) -> list[torch.Tensor]:
        return [given.sample(noise), given.quantile(noise[..., 0])]

    by_kernel = values(given)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)
    for kernel, operations in zip(by_kernel, values(given), strict=True):
        # Noise may be at an edge to the last bit, and then choose a neighbour.
        same = (kernel - operations).abs() <= 1e-4 * operations.abs()
        assert same.float().mean() > 0.995


def test_noise_at_its_ends_chooses_possible_values() -> None:
    given, _ = conditionals(3.0, TREES)
    for end in (0.0, 1.0):
        quantile = given.quantile(end)
        assert given.log_prob(quantile).isfinite().all()
        assert (quantile[:, 1] >= 0).all() and (quantile[:, 1] <= 30).all()
        assert (quantile[:, 2] >= -7).all()
