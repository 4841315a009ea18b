import pytest
import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.variables import Variable
from tests.support.conditionals import along, conditionals


@pytest.mark.parametrize(
    "variable",
    [
        Variable("a", "integer", 0, scale=0.01),
        Variable("a", "integer", 0, scale=1.0, atoms=(0.0, 1.0)),
        Variable("a", "integer", 0, scale=40.0, lower=0.0, atoms=(0.0, 60.0)),
        Variable("a", "integer", 0, scale=40.0, lower=-30.0, upper=30.0),
        Variable("a", "integer", 0, scale=40.0, lower=4.0, upper=4.0),
        Variable("a", "integer", 0, scale=40.0, lower=4.0, upper=5.0, atoms=(4.0,)),
        Variable("a", "categorical", 0, size=5),
        Variable("a", "categorical", 0, size=70),
        Variable("a", "binary", 0, size=2),
    ],
)
def test_entropies_equal_the_sum_over_all_values(variable: Variable) -> None:
    whole = conditionals((variable,), count=10)
    first, last = (0, variable.size - 1) if variable.size else (-20_000, 20_000)
    first = int(first if variable.lower is None else variable.lower)
    last = int(last if variable.upper is None else variable.upper)
    x = torch.arange(first, last + 1, dtype=torch.float64).unsqueeze(-1)

    errors = []
    for row in range(10):
        one = Conditionals(whole.layout, whole.parameters[row : row + 1])
        log_prob = along(one, x).log_prob(x)
        errors.append(one.entropy().double() + (log_prob.exp() * log_prob).sum())
    check_errors(torch.stack(errors), exact=variable.kind != "integer")


def check_errors(errors: Tensor, *, exact: bool) -> None:
    """Check errors of entropies, in nats; those of mixtures are approximations."""
    assert float(errors.abs().max()) < (1e-5 if exact else 0.15)
    assert float(errors.abs().mean()) < (1e-5 if exact else 0.05)


def test_entropies_of_reals_equal_the_integral() -> None:
    variable = Variable("a", "real", 0, location=5.0, scale=3.0)
    whole = conditionals((variable,), count=10)
    t = torch.linspace(-8, 8, 80_001, dtype=torch.float64)
    x, width = t.sinh().unsqueeze(-1), t.cosh() * 0.0002

    errors = []
    for row in range(10):
        one = Conditionals(whole.layout, whole.parameters[row : row + 1])
        log_prob = along(one, x).log_prob(x).squeeze(-1)
        assert float((log_prob.exp() * width).sum()) == pytest.approx(1, abs=1e-5)
        expected = -(log_prob.exp() * log_prob * width).sum()
        errors.append(one.entropy().double() - expected)
    check_errors(torch.stack(errors), exact=False)
