import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.variables import Variable
from tests.support.marginal_weights import with_marginal_weights

MIXED = with_marginal_weights(
    Variable("a", "categorical", 0, size=3),
    Variable("b", "real", 1, location=10.0, scale=4.0, knots=(0.0, 8.0, 10.0, 15.0)),
    Variable("c", "integer", 2, atoms=(0.0, 2.0), lower=-3.0),
    Variable("d", "binary", 3, size=2),
    Variable("e", "categorical", 4, size=100),
    Variable("f", "integer", 5, scale=30.0, lower=-5.0, upper=400.0),
    Variable("g", "real", 6),
    Variable("h", "categorical", 7, size=3),
)


def conditionals(
    variables: tuple[Variable, ...], count: int = 1, components: int = 8
) -> Conditionals:
    """Return conditionals with random parameters, in float64."""
    torch.manual_seed(0)
    layout = ParameterLayout.of(variables, components, 4).double().requires_grad_(False)
    layout.eval()
    return Conditionals(layout, torch.randn(count, layout.size, dtype=torch.float64))


def along(one: Conditionals, values: Tensor) -> Conditionals:
    """Repeat the conditionals of a single row for all `values`."""
    return Conditionals(one.layout, one.parameters.expand(len(values), -1))


def uniform(count: int, dim: int) -> Tensor:
    """Uniform numbers (count, dim, 2), always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, dim, 2, generator=generator, dtype=torch.float64)
