"""The kind of distribution of each variable, and the place of its parameters."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ar_models.distributions.base import GroupDistribution
from ar_models.distributions.discrete import Bernoulli, Categorical, LargeCategorical
from ar_models.distributions.gaussian_mixture import GaussianMixture
from ar_models.distributions.interval_tree import IntervalTree
from ar_models.distributions.logistic_mixture import LogisticMixture
from ar_models.distributions.variable_groups import VariableGroups
from ar_models.variables import MAX_ONE_HOT, Variable

LEAF_BLOCK = 32
"""Trees whose numbers of leaves differ by less than this are computed together."""


class ParameterLayout(VariableGroups):
    """The distributions of all variables and the positions of their parameters.

    `size` is the length of the parameter vector, `variable_index` (size,) the variable
    of each parameter. Variables with more than `MAX_ONE_HOT` codes get
    `4 * embedding` parameters and a learned table of codes, which this module holds.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> ParameterLayout.of(binary_variables(3)).variable_index
        tensor([0, 1, 2])
    """

    @classmethod
    def of(
        cls,
        variables: Sequence[Variable],
        components: int = 8,
        embedding: int = 16,
        *,
        factorise: bool = True,
    ) -> Self:
        """Return the layout of the parameters of variables.

        Args:
            variables: The variables of a model.
            components: Number of components of each mixture.
            embedding: A quarter of the number of parameters of a variable with many
                codes.
            factorise: Whether variables with many codes have factorised logits instead
                of a parameter for each code. Families that predict all variables by one
                map do without.
        """
        members: dict[tuple[tuple[str, int], bool], list[int]] = {}
        for i, v in enumerate(variables):
            members.setdefault((_shape(v), v.marginal_weight > 0), []).append(i)
        rank = 4 * embedding if factorise else None
        groups = [
            distribution_of([variables[i] for i in own], components, rank)
            for own in members.values()
        ]
        return cls(groups, list(members.values()))

    def initial_bias(self) -> Tensor:
        """Return parameters (size,) near the marginal distributions in training."""
        groups = [group.get_buffer("initial_bias") for group in self.groups]
        return torch.cat([bias.flatten() for bias in groups])


def distribution_of(
    variables: Sequence[Variable], components: int, rank: int | None
) -> GroupDistribution:
    """Return the distribution of variables of one kind and size, or of trees.

    A further kind of distribution is a subclass of `GroupDistribution` that is chosen
    here.

    Args:
        variables: The variables of a group.
        components: Number of components of a mixture.
        rank: Length of the queries of factorised logits; None: never factorise.
    """
    kind, size = variables[0].kind, variables[0].size
    if kind == "binary":
        return Bernoulli.of(variables)
    if kind == "categorical":
        if size <= MAX_ONE_HOT or rank is None:
            return Categorical.of(variables)
        return LargeCategorical.of_rank(variables, rank)
    if kind == "real":
        return GaussianMixture.of(variables, components)
    if variables[0].edges:
        return IntervalTree.of(variables, components)
    return LogisticMixture.of(variables, components)


def _shape(variable: Variable) -> tuple[str, int]:
    """Return what the variables of a group have in common."""
    if variable.edges:
        blocks = len(variable.edges) // LEAF_BLOCK
        return "tree", blocks
    if variable.kind == "integer":
        return variable.kind, len(variable.atoms)
    return variable.kind, variable.size
