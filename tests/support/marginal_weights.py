"""Variables whose conditional distributions are mixed with marginal ones."""

from dataclasses import replace

from ar_models.variables import Variable

WEIGHTS = 0.1, 0.0, 0.02
"""Weights of the marginal distributions of the first, second and third variable."""


def with_marginal_weights(*variables: Variable) -> tuple[Variable, ...]:
    """Return the variables with the weights in turn."""
    return tuple(
        replace(variable, marginal_weight=WEIGHTS[i % len(WEIGHTS)])
        for i, variable in enumerate(variables)
    )
