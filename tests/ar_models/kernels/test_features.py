import pytest
import torch

from ar_models.kernels import compiled
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable
from tests.support.kernels import ROWS


@pytest.mark.parametrize("seed", range(3))
def test_a_network_sees_the_same_numbers(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(seed)
    knots = (-3.0, 0.0, 0.5, 20.0, 7000.0)
    numbers = (
        Variable("a", "real", 0, location=10.0, scale=4.0, knots=knots),
        Variable("b", "real", 1, scale=1e-3),
        Variable("c", "integer", 2, atoms=(0.0, 2.0), knots=knots),
        Variable("d", "integer", 3, scale=30.0, knots=(-50.0, 2e6)),
        Variable("e", "integer", 4, knots=(-50.0, 2e6), edges=(-100, 0, 1, 2, 3)),
    )
    x = 10 ** (8 * torch.rand(ROWS, 5) - 1) * torch.randn(ROWS, 5).sign()
    x[:, 2:] = x[:, 2:].round()
    x[:200, 2:] = torch.arange(600.0).sub(100).view(200, 3)
    x[torch.rand(ROWS, 5) < 0.1] = torch.nan
    inputs = InputFeatures.of(numbers)
    by_kernel = inputs(x)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)

    by_operations = inputs(x)

    torch.testing.assert_close(by_kernel, by_operations, atol=0, rtol=2e-7)
    assert not by_kernel[0].equal(by_kernel[1])


@pytest.mark.parametrize("edges", [(), (0.0, 10.0, 20.0)])
@pytest.mark.parametrize("huge", [torch.inf, -torch.inf, 3e38, -1e30, 1e19])
def test_digits_of_what_is_too_great_are_left_out(
    huge: float, edges: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 0)
    digits = Variable("a", "integer", 0, knots=(-50.0, 2e6), edges=edges)
    inputs = InputFeatures.of([digits])
    x = torch.tensor([[12.0], [huge], [34.0]])

    among, alone = inputs(x), inputs(x[[0, 2]])

    assert torch.equal(among[[0, 2]], alone)
    assert set(among[1, 2:].tolist()) <= {0.0, 1.0}
    assert float(among[1, 2:].sum()) <= (5 if edges else 3)
