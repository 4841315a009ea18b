"""Variables handled together: one tensor operation for all of equal kind and width."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ar_models.kept import Kept


class Group(nn.Module):
    """`count` variables of one kind, each with `width` numbers.

    All its tensors have the variables as their first axis, so that a part of the
    variables is a part of each tensor.

    Args:
        width: Numbers per variable.
        constants: Tensors that become buffers and are not saved.
        learned: Tensors that become parameters.
    """

    def __init__(
        self,
        width: int,
        constants: Mapping[str, Tensor],
        learned: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        for name, tensor in (learned or {}).items():
            self.register_parameter(name, nn.Parameter(tensor))
        for name, tensor in constants.items():
            self.register_buffer(name, tensor, persistent=False)

    def select(self, places: Tensor | slice) -> Self:
        """The same group with only the variables at `places`, without gradients."""
        own = self.tensors().items()
        return type(self)(self.width, {name: t.detach()[places] for name, t in own})

    def tensors(self) -> dict[str, Tensor]:
        """All its tensors by name."""
        every = {**self._buffers, **self._parameters}
        return {name: tensor for name, tensor in every.items() if tensor is not None}


class Grouping(nn.Module):
    """Variables 0 … dim - 1, divided into groups.

    The numbers of all variables stand in one vector of length `size`: group after
    group, within a group variable after variable.

    Args:
        groups: The groups.
        members: Per group, its variables.
        places: Where this grouping's numbers stand in the vector of the grouping of
            all variables, from which it was selected, (size,). By default 0 … size - 1.

    Attributes:
        dim: Number of variables.
        size: Length of the vector.
        owner: Which variable each number belongs to, (size,).
    """

    owner: Tensor
    places: Tensor
    inverse: Tensor

    def __init__(
        self,
        groups: Sequence[Group],
        members: Sequence[Sequence[int]],
        places: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.groups = nn.ModuleList(groups)
        self.members = [list(variables) for variables in members]
        self.dim = sum(map(len, members))
        widths = [group.width for group in groups]
        order = torch.tensor([i for variables in members for i in variables])
        owner = torch.cat(
            [
                torch.tensor(variables).repeat_interleave(width)
                for variables, width in zip(members, widths, strict=True)
            ]
        )
        self.size = len(owner)
        self.homes = {
            variable: (k, place)
            for k, variables in enumerate(members)
            for place, variable in enumerate(variables)
        }
        self.sections = [len(m) * w for m, w in zip(members, widths, strict=True)]
        self.in_order = order.tolist() == list(range(self.dim))
        self._alone: Kept[Group] = Kept()
        self.register_buffer("owner", owner, persistent=False)
        self.register_buffer("inverse", order.argsort(), persistent=False)
        if places is None:
            places = torch.arange(self.size)
        self.register_buffer("places", places, persistent=False)
        for k, variables in enumerate(members):
            self.register_buffer(
                f"members_{k}", torch.tensor(variables), persistent=False
            )

    def split(self, vector: Tensor) -> list[Tensor]:
        """The numbers of each group: (batch, size) -> (batch, count, width) each."""
        return [
            part.unflatten(-1, (len(variables), -1))
            for part, variables in zip(
                vector.split(self.sections, -1), self.members, strict=True
            )
        ]

    def take(self, k: int, x: Tensor) -> Tensor:
        """The variables of group `k`: (batch, dim, …) -> (batch, count, …)."""
        if self.in_order and len(self.members) == 1:
            return x
        members: Tensor = self.get_buffer(f"members_{k}")
        return x[:, members]

    def restore(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor in the order of the variables: (batch, count, …) each."""
        together = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
        return together if self.in_order else together[:, self.inverse]

    def alone(self, variable: int) -> tuple[Group, slice]:
        """A group of this variable only, and where its numbers stand in the vector."""
        k, place = self.homes[variable]
        group = self.groups[k]
        assert isinstance(group, Group)
        chosen = self._alone.get(
            variable,
            tuple(group.tensors().values()),
            lambda: group.select(slice(place, place + 1)),
        )
        return chosen, self.place_of(variable)

    def place_of(self, variable: int) -> slice:
        """Where a variable's numbers stand in the vector."""
        k, place = self.homes[variable]
        width = self.sections[k] // len(self.members[k])
        start = sum(self.sections[:k]) + place * width
        return slice(start, start + width)

    def select(self, indices: Sequence[int]) -> Self:
        """The grouping of some variables alone, numbered in the order given.

        Its `places` say where their numbers stand in the vector of all variables.
        """
        wanted = {variable: i for i, variable in enumerate(indices)}
        device = self.places.device
        groups, members, places = [], [], []
        start = 0
        for group, variables in zip(self.groups, self.members, strict=True):
            assert isinstance(group, Group)
            found = [k for k, i in enumerate(variables) if i in wanted]
            if found:
                at = torch.tensor(found, device=device)
                groups.append(group.select(at))
                members.append([wanted[variables[k]] for k in found])
                first = start + at[:, None] * group.width
                numbers = first + torch.arange(group.width, device=device)
                places.append(numbers.flatten())
            start += len(variables) * group.width
        return type(self)(groups, members, self.places[torch.cat(places)]).to(device)
