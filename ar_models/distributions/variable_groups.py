"""Variables handled together: one tensor operation for all of equal kind and width."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ar_models.distributions.tensor_cache import TensorCache


class VariableGroup(nn.Module):
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

    def select(self, chosen: Tensor | slice) -> Self:
        """Return this group with the chosen variables only, without gradients."""
        own = self.tensors().items()
        return type(self)(self.width, {name: t.detach()[chosen] for name, t in own})

    def tensors(self) -> dict[str, Tensor]:
        """All its tensors by name."""
        every = {**self._buffers, **self._parameters}
        return {name: tensor for name, tensor in every.items() if tensor is not None}


class VariableGroups(nn.Module):
    """Variables 0 … dim - 1, divided into groups.

    The numbers of all variables stand in one vector of length `size`: group after
    group, within a group variable after variable.

    Args:
        groups: The groups.
        members: Per group, its variables.
        source_index: Positions of these numbers in the vector of all variables, of
            which this is a selection, (size,). By default 0 … size - 1.

    Attributes:
        dim: Number of variables.
        size: Length of the vector.
        variable_index: Which variable each number belongs to, (size,).
    """

    variable_index: Tensor
    source_index: Tensor
    inverse: Tensor

    def __init__(
        self,
        groups: Sequence[VariableGroup],
        members: Sequence[Sequence[int]],
        source_index: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.groups = nn.ModuleList(groups)
        self.members = [list(variables) for variables in members]
        self.dim = sum(map(len, members))
        widths = [group.width for group in groups]
        order = torch.tensor([i for variables in members for i in variables])
        variable_index = torch.cat(
            [
                torch.tensor(variables).repeat_interleave(width)
                for variables, width in zip(members, widths, strict=True)
            ]
        )
        self.size = len(variable_index)
        self.locations = {
            variable: (k, place)
            for k, variables in enumerate(members)
            for place, variable in enumerate(variables)
        }
        self.section_sizes = [len(m) * w for m, w in zip(members, widths, strict=True)]
        self.in_order = order.tolist() == list(range(self.dim))
        self._alone: TensorCache[VariableGroup] = TensorCache()
        self.register_buffer("variable_index", variable_index, persistent=False)
        self.register_buffer("inverse", order.argsort(), persistent=False)
        if source_index is None:
            source_index = torch.arange(self.size)
        self.register_buffer("source_index", source_index, persistent=False)
        for k, variables in enumerate(members):
            self.register_buffer(
                f"members_{k}", torch.tensor(variables), persistent=False
            )

    def split(self, vector: Tensor) -> list[Tensor]:
        """The numbers of each group: (batch, size) -> (batch, count, width) each."""
        return [
            part.unflatten(-1, (len(variables), -1))
            for part, variables in zip(
                vector.split(self.section_sizes, -1), self.members, strict=True
            )
        ]

    def gather(self, k: int, x: Tensor) -> Tensor:
        """The variables of group `k`: (batch, dim, …) -> (batch, count, …)."""
        if self.in_order and len(self.members) == 1:
            return x
        members: Tensor = self.get_buffer(f"members_{k}")
        return x[:, members]

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor in the order of the variables: (batch, count, …) each."""
        together = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
        return together if self.in_order else together[:, self.inverse]

    def single(self, variable: int) -> tuple[VariableGroup, slice]:
        """A group of this variable only, and where its numbers stand in the vector."""
        k, place = self.locations[variable]
        group = self.groups[k]
        assert isinstance(group, VariableGroup)
        chosen = self._alone.get(
            variable,
            tuple(group.tensors().values()),
            lambda: group.select(slice(place, place + 1)),
        )
        return chosen, self.slice_of(variable)

    def slice_of(self, variable: int) -> slice:
        """Where a variable's numbers stand in the vector."""
        k, place = self.locations[variable]
        width = self.section_sizes[k] // len(self.members[k])
        start = sum(self.section_sizes[:k]) + place * width
        return slice(start, start + width)

    def select(self, indices: Sequence[int]) -> Self:
        """The grouping of some variables alone, numbered in the order given.

        Its `source_index` say where their numbers stand in the vector of all variables.
        """
        wanted = {variable: i for i, variable in enumerate(indices)}
        device = self.source_index.device
        groups, members, source_index = [], [], []
        start = 0
        for group, variables in zip(self.groups, self.members, strict=True):
            assert isinstance(group, VariableGroup)
            found = [k for k, i in enumerate(variables) if i in wanted]
            if found:
                at = torch.tensor(found, device=device)
                groups.append(group.select(at))
                members.append([wanted[variables[k]] for k in found])
                first = start + at[:, None] * group.width
                numbers = first + torch.arange(group.width, device=device)
                source_index.append(numbers.flatten())
            start += len(variables) * group.width
        return type(self)(
            groups, members, self.source_index[torch.cat(source_index)]
        ).to(device)
