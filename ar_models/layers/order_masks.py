"""Random sets of known variables, to train order-agnostic models."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ar_models.variables import Variable


class GroupPositions(NamedTuple):
    """The position of each variable in its group; each (dim,), int64.

    Attributes:
        group: Index of the group.
        place: Position of the variable in its group.
        length: Number of variables of the group.
    """

    group: Tensor
    place: Tensor
    length: Tensor


def group_positions(variables: Sequence[Variable]) -> GroupPositions:
    """Return the positions of variables in their groups.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> group_positions(binary_variables(2)).length
        tensor([1, 1])
    """
    numbers = {group: k for k, group in enumerate(dict.fromkeys(_groups(variables)))}
    lengths = dict.fromkeys(numbers, 0)
    group, place = [], []
    for of_variable in _groups(variables):
        group.append(numbers[of_variable])
        place.append(lengths[of_variable])
        lengths[of_variable] += 1
    length = [lengths[of_variable] for of_variable in _groups(variables)]
    return GroupPositions(
        torch.tensor(group), torch.tensor(place), torch.tensor(length)
    )


def _groups(variables: Sequence[Variable]) -> list[int]:
    return [variable.group for variable in variables]


def sample_known(
    chains: GroupPositions | None, keys: Tensor, share: Tensor, free: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Sample known variables, and weights of those that may come next.

    The known variables are the first t of a random ordering that keeps each group in
    order, all equally likely. Each variable that may come next has the weight

    .. math:: \text{dim} \cdot r / (\text{dim} - t)

    where r counts the unknown variables of its group. Over random t and orders, the
    weighted sum of their log-probabilities, each given what is known, has as its
    expectation the log-probability of the row, averaged over the orders.

    Each variable is taken if its key is below the share, save for one that stays free:
    so the number taken is uniform from 0 to dim - 1, and nothing is sorted.

    Args:
        chains: Positions in groups; None if every group has one variable.
        keys: Uniform numbers that say which variables come first, (batch, dim).
        share: Uniform numbers that say how many, (batch,).
        free: Uniform numbers that say which variable is unknown in any case, (batch,).

    Returns:
        Known variables, bool, and weights of the next ones, each (batch, dim).

    Reference:
        Uria, Murray, Larochelle, A deep and tractable density estimator, 2014.
        https://arxiv.org/abs/1310.1757 (where every group has one variable, so that
        the weight of every unknown one is dim / (dim - t)).
    """
    dim = keys.shape[1]
    unknown = (free * dim).long().clamp(max=dim - 1).unsqueeze(-1)
    taken = (keys < share.unsqueeze(-1)).scatter(-1, unknown, value=False)
    weight = dim / (dim - taken.sum(-1, keepdim=True)).to(keys.dtype)
    if chains is None:
        return taken, weight * ~taken
    groups = keys.new_zeros(len(keys), dim)
    count = groups.index_add_(1, chains.group, taken.to(keys.dtype))[:, chains.group]
    weight = weight * (chains.length - count)
    return chains.place < count, weight * (chains.place == count)
