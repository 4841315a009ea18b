import copy
from typing import Any

import pytest
import torch

from ar_models.families.made import MADE
from ar_models.layers import masked_linear
from ar_models.layers.masked_linear import BlockTriangularWeight, ColumnPermutation
from ar_models.variables import binary_variables
from tests.support.models import random_made


def test_kept_masked_weights_follow_every_change() -> None:
    model = random_made(binary_variables(5), hidden=30)
    other = random_made(binary_variables(5), hidden=30)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    x = model.sample(20)

    def fresh() -> torch.Tensor:
        return copy.deepcopy(model).log_prob(x)  # with gradients nothing is kept

    def agree() -> bool:
        with torch.no_grad():
            return torch.allclose(model.log_prob(x), fresh(), atol=1e-6)

    assert agree()
    model.load_state_dict(other.state_dict())
    assert agree()
    model.first.weight.data.mul_(2)
    model.train()
    model.eval()
    assert agree()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.log_prob(x).sum().backward()
    optimizer.step()
    assert agree()
    model.double()
    x = x.double()
    assert agree()


@pytest.mark.parametrize("ordering", ["natural", "random"])
@pytest.mark.parametrize("blocks", [3, 4])
def test_without_most_zeros_the_products_are_the_same(
    blocks: int, ordering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_made(hidden=50, direct=True, ordering=ordering)
    x = model.sample(20)
    dense = model.log_prob(x)
    monkeypatch.setattr(masked_linear, "MIN_BLOCKED_WEIGHTS", 1)
    monkeypatch.setattr(masked_linear, "OUTPUT_BLOCKS", blocks)
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x), dense, atol=1e-5, rtol=1e-6)
        kept = model.last.masked(*degrees_of(model), 0)
    assert isinstance(kept, BlockTriangularWeight)
    assert sum(w.numel() for w in kept.weights) < model.last.weight.numel()


def test_products_without_zeros_are_in_the_type_of_an_autocast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(masked_linear, "MIN_BLOCKED_WEIGHTS", 1)
    model = random_made(hidden=50)
    x = model.sample(20)

    def parameters(rough: bool) -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=rough):
            return model.conditionals(x).parameters

    exact, rough, again = parameters(False), parameters(True), parameters(False)

    assert torch.equal(exact, again)
    assert rough.dtype == torch.float32
    assert torch.equal(rough, rough.bfloat16().float())
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    "places",
    [list(range(20, 40)) + list(range(20)), [*range(40)][::-1], [*range(40)]],
)
def test_columns_are_put_in_order(places: list[int]) -> None:
    x = torch.randn(3, 40)
    order = ColumnPermutation.of(torch.tensor(places))

    assert bool(order.runs) == (places[0] < 39)
    assert torch.equal(order.permute(x), x[:, places])
    assert order.permute(x).is_contiguous()
    assert ColumnPermutation.of(None).permute(x) is x


def degrees_of(model: MADE) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the degrees of the inputs and outputs of the last layer."""
    return model.degrees_of(0), model.ordering(0).argsort()[model.layout.variable_index]
