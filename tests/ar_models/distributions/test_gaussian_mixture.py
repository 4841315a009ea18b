import math

import pytest
import torch

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.variables import Variable


def test_a_gaussian_is_worked_out_by_hand() -> None:
    layout = ParameterLayout.of((Variable("a", "real", 0, location=1.0, scale=2.0),), 1)
    of_two = Conditionals(layout, torch.tensor([[0.0, 3.0, 0.0]]))
    spread = 2.0 * math.exp(layout_log_scale(0.0))

    log_prob = of_two.log_prob(torch.tensor([[4.0]]))

    u = (4.0 - 7.0) / spread
    expected = -0.5 * u * u - math.log(spread * math.sqrt(2 * math.pi))
    assert float(log_prob) == pytest.approx(expected, abs=1e-5)
    assert float(of_two.cdf(torch.tensor([[7.0]]))) == pytest.approx(0.5, abs=1e-6)
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(spread)
    assert float(of_two.entropy()) == pytest.approx(entropy, abs=0.003)


def layout_log_scale(raw: float) -> float:
    """Bend a log-scale between log 5e-3 and log 1e4."""

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    low, high = math.log(5e-3), math.log(1e4)
    return low + softplus(raw - low) - softplus(raw - high)
