"""Tests of the shrinkage of outputs that is fitted to validation rows."""

from typing import Any

import pytest
import torch

from ar_models.families import registry
from ar_models.families.base import AutoregressiveModel
from ar_models.variables import Variable
from tasks.data.batches import Batch
from tasks.training.output_shrinkage import FACTORS, fit_shrinkage
from tests.support.training import (
    VARIABLES,
    draw_rows,
    make_trainer,
    take_steps,
)

SMALL: dict[str, dict[str, Any]] = {
    "made": {"direct": True, "orderings": 2, "ordering": "random"},
    "nade": {},
    "eonade": {},
    "fvsbn": {},
    "rnn": {},
    "transformer": {"heads": 2},
}
"""Families with parameters of each variable alone, and their special settings."""


def build(family: str, **settings: Any) -> AutoregressiveModel:
    """Build a small network with random outputs."""
    torch.manual_seed(1)
    shape = {} if family == "fvsbn" else {"hidden": 16}
    if family in ("made", "eonade", "rnn", "transformer"):
        shape["layers"] = 1
    model = registry.build(
        family, VARIABLES, components=2, embedding=4, **shape, **settings
    )
    for each in model.output_maps():
        each.weight.data.mul_(30)
        each.bias.data.add_(torch.randn(len(each.bias)))
    return model.eval()


@pytest.mark.parametrize("family", SMALL)
def test_factors_of_zero_leave_the_marginal_distributions(family: str) -> None:
    model, x = build(family, **SMALL[family]), draw_rows(20, seed=3)
    model.shrink_outputs(torch.zeros(len(VARIABLES)))

    conditionals = model.conditionals(x)
    marginal = conditionals.layout.initial_bias()  # type: ignore[attr-defined]
    parameters = conditionals.parameters
    torch.testing.assert_close(parameters, marginal.expand_as(parameters))


@pytest.mark.parametrize("family", SMALL)
def test_factors_change_their_own_variable_alone(family: str) -> None:
    model, x = build(family, **SMALL[family]), draw_rows(20, seed=3)
    before = model.conditionals(x).log_prob(x)
    model.shrink_outputs(torch.tensor([1.0, 1.0, 0.5, 1.0]))

    after = model.conditionals(x).log_prob(x)
    same = [0, 1, 3]
    torch.testing.assert_close(after[:, same], before[:, same])
    assert not torch.allclose(after[:, 2], before[:, 2])


def test_shared_outputs_are_not_shrunk() -> None:
    alike = [Variable(str(i), "binary", group=i) for i in range(4)]
    model = registry.build("rnn", alike, hidden=8, layers=1, shared=True)
    assert model.output_maps() == []


def test_outputs_that_are_too_sure_are_shrunk() -> None:
    torch.manual_seed(0)
    names = [Variable(str(i), "binary", group=i) for i in range(3)]
    model = registry.build("fvsbn", names).eval()
    weight, _, _, variables = model.output_maps()[0]
    # Variables 1 and 2 copy the one before; variable 2 does so in truth.
    weight.data.zero_()
    weight.data[1, 0], weight.data[2, 1] = 6.0, 6.0
    first = torch.randint(0, 2, (4000, 2)).float()
    x = torch.cat([first, first[:, 1:]], 1)
    kept = weight.clone()

    found = fit_shrinkage(model, x.split(1000), lambda total: total)

    assert found[0] == 1
    assert found[1] == min(FACTORS)
    assert found[2] >= 1
    assert torch.equal(weight, kept)
    assert variables.tolist() == [0, 1, 2]


def test_chance_does_not_shrink_outputs() -> None:
    model = build("made")
    x = model.sample(2000, generator=torch.Generator().manual_seed(0))
    found = fit_shrinkage(model, [x], lambda total: total)
    assert found.tolist() == [1.0] * len(VARIABLES)


def test_the_best_weights_are_shrunk_at_the_end() -> None:
    learning = make_trainer(learning_rate=5e-2, loss_weights="equal")
    few, held_out = draw_rows(20, seed=0), draw_rows(400, seed=7)
    take_steps(learning, [Batch(few, len(few))] * 40)
    learning.end_epoch(learning.nll([held_out]))
    overfitted = learning.state.best_nll

    learning.shrink_outputs(lambda: [held_out])

    learning.model.load_state_dict(learning.best)
    after = float(learning.nll([held_out]).sum())
    assert after == pytest.approx(learning.state.best_nll, abs=1e-6)
    assert after < overfitted - 0.1
