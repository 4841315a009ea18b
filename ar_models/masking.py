"""Random splits of a row into known and unknown variables, to learn any order from."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ar_models.variables import Variable


class Chains(NamedTuple):
    """Where each variable stands in the chain of its group; each (dim,), int64.

    Attributes:
        group: The group's number, counted from 0.
        place: The variable's place in the group.
        length: Variables in the group.
    """

    group: Tensor
    place: Tensor
    length: Tensor


def chains(variables: Sequence[Variable]) -> Chains:
    """The chains that the variables of each group form.

    Example:
        >>> from ar_models.variables import binary
        >>> chains(binary(2))
        Chains(group=tensor([0, 1]), place=tensor([0, 0]), length=tensor([1, 1]))
    """
    numbers = {group: k for k, group in enumerate(dict.fromkeys(_groups(variables)))}
    lengths = dict.fromkeys(numbers, 0)
    group, place = [], []
    for of_variable in _groups(variables):
        group.append(numbers[of_variable])
        place.append(lengths[of_variable])
        lengths[of_variable] += 1
    length = [lengths[of_variable] for of_variable in _groups(variables)]
    return Chains(torch.tensor(group), torch.tensor(place), torch.tensor(length))


def _groups(variables: Sequence[Variable]) -> list[int]:
    return [variable.group for variable in variables]


def split(
    chains: Chains | None, keys: Tensor, share: Tensor, free: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Known variables at a random point of a random order, and what is next worth.

    The order is any that keeps the chains in order, all equally likely; after t of its
    dim variables, each variable that may come next has the weight

    .. math:: \text{dim} \cdot r / (\text{dim} - t)

    where r counts the unknown variables of its group. Over random t and orders, the
    weighted sum of their log-probabilities, each given what is known, has as its
    expectation the log-probability of the row, averaged over the orders.

    Each variable is taken if its key is below the share, save for one that stays free:
    so the number taken is uniform from 0 to dim - 1, and nothing is sorted.

    Args:
        chains: Of the variables; None if every group has one.
        keys: Uniform numbers that say which variables come first, (batch, dim).
        share: Uniform numbers that say how many, (batch,).
        free: Uniform numbers that say which variable is unknown in any case, (batch,).

    Returns:
        known, bool, and the weights of what comes next, each (batch, dim).

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
