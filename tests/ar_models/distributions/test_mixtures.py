import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import SamplingParams
from ar_models.variables import Variable
from tests.support.conditionals import uniform


def test_tempered_components_are_powers_of_themselves() -> None:
    # Means over 100,000 draws: off by more than 2 % with odds below 1e-6.
    variables = (Variable("a", "real", 0), Variable("b", "integer", 1, scale=50.0))
    layout = ParameterLayout.of(variables, 1)
    whole = Conditionals(layout, torch.zeros(100_000, layout.size).double())
    noise = uniform(100_000, 2)

    exact, tempered = whole.sample(noise), whole.sample(noise, SamplingParams(0.25))

    # A Gaussian to the power of 4 has half the standard deviation, and the tails of a
    # logistic to the power of 4 are those of one with a quarter of the scale.
    ratio = tempered.abs().mean(0) / exact.abs().mean(0)
    assert ratio.tolist() == pytest.approx([0.5, 0.25], rel=0.02)


def test_top_p_keeps_the_central_share_of_a_component() -> None:
    variables = (Variable("a", "real", 0), Variable("b", "integer", 1, scale=1e4))
    layout = ParameterLayout.of(variables, 1)
    whole = Conditionals(layout, torch.zeros(1000, layout.size).double())
    noise = uniform(1000, 2)

    reached = whole.cdf(whole.sample(noise, SamplingParams(top_p=0.8)))

    expected = 0.1 + 0.8 * noise[:, :, 1]
    torch.testing.assert_close(reached, expected, atol=1e-4, rtol=0)


def test_the_nucleus_holds_the_likeliest_components_and_atoms() -> None:
    variable = Variable("a", "integer", 0, atoms=(3.0, 7.0))
    layout = ParameterLayout.of([variable], 2)
    # Shares 0.4 and 0.1 of the atoms, 0.3 and 0.2 of components at -50 and 50.
    parameters = torch.tensor([0.4, 0.1, 0.3, 0.2]).log().tolist() + [-50, 50, -1, -1]
    whole = Conditionals(layout, torch.tensor([parameters]).expand(2000, -1))

    x = whole.sample(uniform(2000, 1), SamplingParams(top_p=0.65))[:, 0]

    assert bool(((x == 3) | (x < -40)).all())
    assert float((x == 3).float().mean()) == pytest.approx(4 / 7, abs=0.06)
    likeliest = whole.sample(uniform(2000, 1), SamplingParams(top_p=1e-6))
    assert bool((likeliest == 3).all())
    coldest = whole.sample(uniform(2000, 1), SamplingParams(temperature=1e-3))
    assert bool((coldest == 3).all())
