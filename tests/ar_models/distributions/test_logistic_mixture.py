import math

import pytest
import torch

from ar_models.distributions.logistic_mixture import log_logistic_mass
from ar_models.variables import Variable
from tests.support.conditionals import along, conditionals


@pytest.mark.parametrize("scale", [1e-3, 1e-1, 1.0, 1e2, 1e4, 1e7])
@pytest.mark.parametrize("distance", [0.0, 1e-3, 1.0, 30.0])
def test_the_discretised_logistic_is_exact_at_any_width(
    scale: float, distance: float
) -> None:
    u, d = distance, 0.5 / scale
    # The difference of the two sigmoids, with neither cancellation nor overflow.
    if abs(u) < d:
        upper = 1 / (1 + math.exp(-(u + d)))
        lower = math.exp(u - d) / (1 + math.exp(u - d))
        expected = math.log(upper - lower) if d > 1e-3 else math.log(d / 2)
    else:
        ratio = -math.expm1(-2 * d)
        tails = (1 + math.exp(-u - d)) * (1 + math.exp(d - u))
        expected = (d - u) + math.log(ratio / tails)

    value = log_logistic_mass(torch.tensor(u), torch.tensor(d))

    assert float(value) == pytest.approx(expected, rel=2e-6, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize(
    ("lower", "upper"),
    [(None, None), (0.0, None), (None, 7.0), (-2.0, 5.0), (3.0, 3.0)],
)
def test_masses_of_integers_sum_to_one(
    scale: float, lower: float | None, upper: float | None
) -> None:
    variable = Variable(
        "a", "integer", 0, scale=scale, lower=lower, upper=upper, atoms=(3.0,)
    )
    one = conditionals((variable,), components=3)
    first = -60_000 if lower is None else int(lower)
    last = 60_000 if upper is None else int(upper)
    x = torch.arange(first, last + 1, dtype=torch.float64).unsqueeze(-1)

    masses = along(one, x).log_prob(x).exp()

    assert float(masses.sum()) == pytest.approx(1, abs=1e-9)
    cumulative = along(one, x).cdf(x)
    torch.testing.assert_close(masses.cumsum(0), cumulative, atol=1e-9, rtol=0)
