"""Orderings of variables: how they are made, averaged, and chosen for given values."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ar_models.families.settings import Ordering, SequenceNetworkSettings
from ar_models.layers.sequence_tokens import group_order
from ar_models.variables import Variable


def make_orderings(
    variables: Sequence[Variable], ordering: Ordering, count: int = 1, seed: int = 0
) -> list[list[int]]:
    """Return permutations of the variables that keep each group together.

    Args:
        variables: Descriptions of the columns of `x`.
        ordering: "natural" takes the groups as they come, "random" shuffles them;
            otherwise the sequence of groups of each ordering.
        count: Number of orderings.
        seed: Seed of random orderings.

    Returns:
        `count` permutations of 0 … dim - 1.

    Raises:
        ValueError: `ordering` is of none of these forms, or does not fit the groups or
            the count.
    """
    members: dict[int, list[int]] = {}
    for i, variable in enumerate(variables):
        members.setdefault(variable.group, []).append(i)
    sequences = list(_group_sequences(list(members), ordering, count, seed))
    return [[i for group in groups for i in members[group]] for groups in sequences]


def _group_sequences(
    groups: list[int], ordering: Ordering, count: int, seed: int
) -> Iterator[list[int]]:
    if ordering == "natural":
        if count > 1:
            raise ValueError(
                f"ordering 'natural' is one ordering, got orderings={count}; "
                "use ordering='random' for more"
            )
        yield groups
    elif ordering == "random":
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            permutation = torch.randperm(len(groups), generator=generator)
            yield [groups[k] for k in permutation.tolist()]
    elif isinstance(ordering, str):
        raise ValueError(
            "ordering must be 'natural', 'random' or sequences of groups, "
            f"got {ordering!r}"
        )
    else:
        if len(ordering) != count:
            raise ValueError(
                f"orderings is {count}, but ordering has {len(ordering)} sequences"
            )
        for sequence in ordering:
            if sorted(sequence) != sorted(groups):
                raise ValueError(
                    f"an ordering must name each group of {sorted(groups)} once, "
                    f"got {list(sequence)}"
                )
            yield list(sequence)


def sequence_orderings(
    variables: Sequence[Variable], settings: SequenceNetworkSettings
) -> list[list[int]]:
    """Return the orderings of a network that reads a row as a sequence.

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the network.

    Raises:
        ValueError: The settings contradict each other, or do not fit the variables.
    """
    ordering = settings.ordering
    if settings.steps == "places":
        if ordering != "natural" or settings.shared:
            raise ValueError(
                "steps 'places' need the ordering 'natural' and shared false, got "
                f"{ordering!r} and {settings.shared}"
            )
        ordering = [group_order(variables)]
    return make_orderings(variables, ordering, settings.orderings, settings.seed)


def mean_of_orderings(each: Tensor) -> Tensor:
    """Return the variables' shares of the log-probability of a mean over orderings.

    The shares of the orderings are averaged with their posterior weights; the small
    difference from the log-probability of the mean is divided in proportion to the
    sizes of the shares.

    Args:
        each: Log-probabilities in each ordering, in nats, (orderings, batch, dim).

    Returns:
        Shares in nats (batch, dim), which add up to the log-probability of the row.
    """
    if len(each) == 1:
        return each[0]
    rows = each.sum(-1)
    mean = (rows.softmax(0).unsqueeze(-1) * each).sum(0)
    total = rows.logsumexp(0) - math.log(len(each))
    return divide_rest(mean, total - mean.sum(-1))


def divide_rest(shares: Tensor, rest: Tensor) -> Tensor:
    """Add `rest` to the shares of a row, in proportion to their absolute values.

    Args:
        shares: Shares of the variables (batch, dim).
        rest: Amount to divide among them (batch,).
    """
    size = shares.abs()
    part = size / size.sum(-1, keepdim=True).clamp(min=1e-30)
    return shares + rest.unsqueeze(-1) * part


def known_and_free(
    variables: Sequence[Variable], given: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which variables are given, and which are still to be sampled.

    A variable that its given parent rules out is neither.

    Args:
        variables: Descriptions of the columns of `x`.
        given: Given values (count, dim), NaN where free.

    Returns:
        Two masks, bool (count, dim).
    """
    known = ~given.isnan()
    free = ~known
    for i, variable in enumerate(variables):
        if variable.parent is not None:
            parent = given[:, variable.parent]
            ruled_out = known[:, variable.parent] & ~variable.is_present(parent)
            free[:, i] &= ~ruled_out
            known[:, i] &= ~ruled_out
    return known, free


def orderings_that_fit(table: Tensor, known: Tensor, free: Tensor) -> Tensor:
    """Return the orderings in which all known variables of a row come first.

    Args:
        table: Permutations of the variables (orderings, dim).
        known: Which variables are given, bool (count, dim).
        free: Which variables are to be sampled, bool (count, dim).

    Returns:
        Mask (count, orderings).
    """
    return torch.stack(
        [
            ~((free[:, order].cumsum(-1) > 0) & known[:, order]).any(-1)
            for order in table
        ],
        -1,
    )


def check_given_first(
    variables: Sequence[Variable], known: Tensor, free: Tensor, first_row: int = 0
) -> None:
    """Raise ValueError where a known variable follows a free one of its group.

    Args:
        variables: Descriptions of the columns of `x`.
        known: Which variables are given, bool (count, dim).
        free: Which variables are to be sampled, bool (count, dim).
        first_row: Number of the first row, for the message.
    """
    free_before: dict[int, Tensor] = {}
    for i, variable in enumerate(variables):
        before = free_before.get(variable.group, torch.zeros_like(free[:, i]))
        misplaced = known[:, i] & before
        if bool(misplaced.any()):
            row = first_row + int(misplaced.nonzero()[0, 0])
            raise ValueError(
                f"given row {row} fixes {variable.name}, but not what comes before it "
                "in its column; give that too"
            )
        free_before[variable.group] = before | free[:, i]


def no_ordering_fits(
    variables: Sequence[Variable], table: Tensor, known: Tensor, row: int
) -> ValueError:
    """Return the error for a row whose given variables come first in no ordering.

    Args:
        variables: Descriptions of the columns of `x`.
        table: Permutations of the variables (orderings, dim).
        known: Which variables of the row are given, bool (dim,).
        row: Number of the row, for the message.
    """
    names = [variables[i].name for i in known.nonzero()[:, 0].tolist()]
    first = [variables[i].name for i in table[0].tolist()]
    return ValueError(
        f"given row {row} fixes {', '.join(names)}, which come first in none of the "
        f"model's {len(table)} orderings (the first takes "
        f"{', '.join(first[: len(names) + 1])}, …); give what comes before too, or "
        "train with an ordering that starts with these"
    )
