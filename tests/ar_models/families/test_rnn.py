"""What is particular to the recurrent network."""

import math

import pytest
import torch

from ar_models.families.base import ancestral_sample
from ar_models.families.rnn import RNN
from ar_models.families.settings import Cell
from ar_models.variables import Variable, binary_variables
from tests.support.models import SEQUENCE_ROWS as ROWS
from tests.support.models import draw, perturbed


def build(variables: tuple[Variable, ...], **settings: object) -> RNN:
    """Return a small model whose weights are far from zero."""
    return perturbed("rnn", variables, **{"hidden": 12, "components": 2, **settings})


def test_a_gru_of_one_unit_is_worked_out_by_hand() -> None:
    model = RNN(
        binary_variables(2), RNN.Settings(hidden=1, cell="gru", dropout=0.0)
    ).eval()
    values = {
        "recurrent.0.weight_ih_l0": [[0.4], [-0.7], [1.1]],
        "recurrent.0.weight_hh_l0": [[0.3], [0.2], [-0.5]],
        "recurrent.0.bias_ih_l0": [0.1, 0.0, -0.2],
        "recurrent.0.bias_hh_l0": [0.0, 0.3, 0.6],
        "chain.start": [0.5],
        "chain.tokens.weight": [[0.9], [0.0]],
        "chain.last": [[-0.3], [0.0]],
        "chain.next": [[0.2], [-0.1]],
        "chain.heads.weight": [[2.0], [-3.0]],
        "chain.heads.bias": [0.1, 0.4],
    }
    model.load_state_dict({k: torch.tensor(v) for k, v in values.items()}, strict=False)

    def sigmoid(u: float) -> float:
        return 1 / (1 + math.exp(-u))

    def step(v: float, h: float) -> float:
        reset = sigmoid(0.4 * v + 0.1 + 0.3 * h)
        keep = sigmoid(-0.7 * v + 0.2 * h + 0.3)
        new = math.tanh(1.1 * v - 0.2 + reset * (-0.5 * h + 0.6))
        return (1 - keep) * new + keep * h

    first = step(0.5 + 0.2, 0)
    second = step(0.9 - 0.3 - 0.1, first)
    by_hand = math.log(sigmoid(2 * first + 0.1))
    by_hand += math.log(1 - sigmoid(-3 * second + 0.4))
    assert model.log_prob(torch.tensor([[1.0, 0.0]])).item() == pytest.approx(by_hand)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 3])
def test_carrying_the_state_is_drawing_plainly(cell: Cell, layers: int) -> None:
    model = build(ROWS, cell=cell, layers=layers, orderings=2, ordering="random")
    model = model.double()
    noise = torch.rand(64, 5, 2).double()
    given = torch.full((64, 5), math.nan).double()
    for which in range(2):
        drawn = model.draw(noise, given, which)
        plain = ancestral_sample(model, noise, given, which)
        torch.testing.assert_close(drawn, plain, equal_nan=True)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_state_carries_the_first_variable_to_the_last(cell: Cell) -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 2, (256, 12)).float()
    x[:, -1] = x[:, 0]
    model = RNN(binary_variables(12), RNN.Settings(hidden=24, cell=cell)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        last = model.conditionals(x).log_prob(x)[:, -1].mean()
        last.neg().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    assert last.item() > -0.05


def test_shared_maps_serve_any_vocabulary() -> None:
    variables = tuple(Variable(f"x{i}", "categorical", i, size=100) for i in range(6))
    model = build(variables, shared=True).double()
    noise, free = torch.rand(64, 6, 2).double(), torch.full((64, 6), math.nan).double()

    drawn = model.draw(noise, free)

    assert torch.equal(drawn, ancestral_sample(model, noise, free))
    assert model.chain.heads.weight.shape == (100, 12)


def test_features_see_every_variable() -> None:
    model = build(ROWS)
    x, other = draw(model), draw(model).roll(1, 0)
    before = model.features(x)
    assert before.shape == (32, 24)
    for i in range(5):
        changed = torch.where(torch.arange(5) == i, other, x)
        assert not torch.equal(model.features(changed), before), i
