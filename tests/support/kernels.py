"""Random conditionals on which compiled kernels are compared with operations."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.kernels import compiled
from ar_models.variables import Variable
from tests.support.marginal_weights import with_marginal_weights

ROWS = 700


VARIABLES = with_marginal_weights(
    Variable("a", "real", 0, location=10.0, scale=4.0, knots=(0.0, 8.0, 10.0, 15.0)),
    Variable("b", "real", 1, scale=1e-3),
    Variable("c", "integer", 2, atoms=(0.0, 2.0), lower=-3.0),
    Variable("d", "integer", 3, scale=30.0, lower=-5.0, upper=400.0),
    Variable("e", "integer", 4, scale=1e5, atoms=(7.0, 900.0)),
    Variable("f", "integer", 5, scale=0.01, upper=4.0),
    Variable("g", "integer", 6, lower=3.0, upper=3.0, atoms=(3.0,)),
    Variable("h", "binary", 7, size=2),
    Variable("i", "categorical", 8, size=5),
    Variable("j", "categorical", 9, size=40),
    Variable("k", "categorical", 10, size=1100),
)

TREES = with_marginal_weights(
    Variable(
        "a",
        "integer",
        0,
        location=300.0,
        scale=200.0,
        edges=(-100, *range(0, 11), *range(20, 100, 10), *range(100, 2001, 100)),
    ),
    Variable(
        "b", "integer", 1, scale=5.0, lower=0.0, upper=30.0, edges=tuple(range(32))
    ),
    Variable(
        "c",
        "integer",
        2,
        scale=1e4,
        lower=-7.0,
        edges=(*range(0, 100_000, 10_000), 100_000, 200_000),
    ),
)


def conditionals(
    size: float, variables: Sequence[Variable] = VARIABLES
) -> tuple[Conditionals, Tensor]:
    """Return random conditionals, with values that are likely, far and absent."""
    torch.manual_seed(0)
    layout = ParameterLayout.of(variables, components=5).requires_grad_(False).eval()
    parameters = layout.initial_bias() + size * torch.randn(ROWS, layout.size)
    x = Conditionals(layout, parameters).sample(torch.rand(ROWS, len(variables), 2))
    for i, variable in enumerate(variables):
        if variable.kind == "real":
            x[:99, i] = x[:99, i] * 1e4
        elif variable.kind == "integer":
            lower = -(2**24) if variable.lower is None else variable.lower
            upper = 2**24 if variable.upper is None else variable.upper
            x[:30, i], x[30:60, i], x[60:80, i] = lower, upper, (lower + upper) // 2
    x[90:95] = torch.nan
    return Conditionals(layout, parameters), x


def everything(given: Conditionals, x: Tensor) -> list[Tensor]:
    """Return log-probabilities, tails and entropies."""
    return [given.log_prob(x), given.log_tail_probs(x), given.entropy()]


def check_kernel(
    compute: Callable[[Conditionals, Tensor], Tensor],
    size: float,
    monkeypatch: pytest.MonkeyPatch,
    variables: Sequence[Variable] = VARIABLES,
) -> None:
    """Check that a kernel is as exact as tensor operations, at some size of logits."""
    given, x = conditionals(size, variables)
    by_kernel = compute(given, x)
    monkeypatch.setattr(compiled, "MIN_ELEMENTS", 10**9)
    by_operations = compute(given, x)
    exact = Conditionals(given.layout.double(), given.parameters.double())
    true = compute(exact, x.double())

    assert (by_kernel.isfinite() == true.isfinite()).all()
    torch.testing.assert_close(by_kernel.isnan(), true.isnan())
    off, usual = error(by_kernel, true), error(by_operations, true)
    assert (off <= 1.3 * usual + 1e-5).all(), (off, usual)
    assert off.max() < 1e-4 * size


def error(found: Tensor, true: Tensor) -> Tensor:
    """Return the greatest relative error of each variable, or absolute if less."""
    share = (found.double() - true).abs() / (1 + true.abs())
    share = torch.where(true.isfinite(), share, 0.0)
    return share.reshape(*share.shape[:2], -1).amax((0, 2))
