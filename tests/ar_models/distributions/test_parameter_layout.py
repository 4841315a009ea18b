import math

import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable, binary_variables


def test_a_bias_starts_at_the_marginals() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4000, generator=generator) * 3 + 20
    knots = tuple(values.quantile(torch.linspace(0, 1, 20)).tolist())
    real = Variable("a", "real", 0, location=20.0, scale=3.0, knots=knots)
    layout = ParameterLayout.of((real,))
    start = Conditionals(layout, layout.initial_bias().expand(4000, -1))

    nll = -start.log_prob(values.unsqueeze(-1)).mean()

    exact = 0.5 * math.log(2 * math.pi * math.e * 9)
    assert exact - 0.05 < float(nll) < exact + 0.1


def test_a_bias_starts_at_the_shares_of_atoms() -> None:
    variable = Variable(
        "a", "integer", 0, atoms=(0.0, 500.0), frequencies=(0.25, 0.5, 0.25)
    )
    layout = ParameterLayout.of((variable,))
    start = Conditionals(layout, layout.initial_bias().expand(2, -1))

    share = start.log_prob(torch.tensor([[500.0], [500.0]])).exp()

    assert share[0].item() == pytest.approx(0.5, abs=1e-4)


def test_equal_variables_share_one_operation() -> None:
    assert len(ParameterLayout.of(binary_variables(784)).groups) == 1
    assert len(InputFeatures.of(binary_variables(784)).groups) == 1
