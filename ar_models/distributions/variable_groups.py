"""Variables divided into groups that are computed by one tensor operation each."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ar_models.distributions.tensor_cache import TensorCache


class VariableGroup(nn.Module):
    """Variables of one kind, each with `width` numbers.

    The first axis of all its tensors is that of the variables, so that a subset of the
    variables is a subset of each tensor.

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
        """Return this group with the chosen variables only, without gradients.

        It is in train or eval mode as this group is.
        """
        tensors = self.tensors().items()
        chosen_tensors = {name: tensor.detach()[chosen] for name, tensor in tensors}
        return type(self)(self.width, chosen_tensors).train(self.training)

    def tensors(self) -> dict[str, Tensor]:
        """Return all buffers and parameters by name."""
        tensors = {**self._buffers, **self._parameters}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}


class VariableGroups(nn.Module):
    """The variables 0 … dim - 1 of a model, divided into groups.

    The numbers of all variables (such as parameters, or input features) are stored in
    one vector of length `size`: group after group, within a group variable after
    variable.

    Args:
        groups: The groups.
        members: Variables of each group.
        source_index: Positions of these numbers in the vector of all variables, of
            which this is a selection, (size,). By default 0 … size - 1.

    Attributes:
        dim: Number of variables.
        size: Length of the vector.
        variable_index: The variable that each number belongs to, (size,).
        locations: Group and position in the group, by variable.
        section_sizes: Numbers of each group.
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
            variable: (k, position)
            for k, variables in enumerate(members)
            for position, variable in enumerate(variables)
        }
        self.section_sizes = [len(m) * w for m, w in zip(members, widths, strict=True)]
        self.in_order = order.tolist() == list(range(self.dim))
        self._singles: TensorCache[VariableGroup] = TensorCache()
        if source_index is None:
            source_index = torch.arange(self.size)
        buffers = {
            "variable_index": variable_index,
            "inverse": order.argsort(),
            "source_index": source_index,
            **{f"members_{k}": torch.tensor(m) for k, m in enumerate(members)},
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Divide a vector (batch, size) into groups, (batch, count, width) each."""
        return [
            part.unflatten(-1, (len(variables), -1))
            for part, variables in zip(
                vector.split(self.section_sizes, -1), self.members, strict=True
            )
        ]

    def gather(self, k: int, x: Tensor) -> Tensor:
        """Select group `k`: (batch, dim, *any) -> (batch, count, *any)."""
        if self.in_order and len(self.members) == 1:
            return x
        members: Tensor = self.get_buffer(f"members_{k}")
        return x[:, members]

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Put tensors (batch, count, *any) of all groups in the variables' order."""
        joined = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
        return joined if self.in_order else joined[:, self.inverse]

    def single(self, variable: int) -> tuple[VariableGroup, slice]:
        """Return a group of one variable, and the slice of its numbers."""
        k, position = self.locations[variable]
        group = self.groups[k]
        assert isinstance(group, VariableGroup)
        single = self._singles.get(
            (variable, group.training),
            tuple(group.tensors().values()),
            lambda: group.select(slice(position, position + 1)),
        )
        return single, self.slice_of(variable)

    def slice_of(self, variable: int) -> slice:
        """Return the slice of a variable's numbers in the vector."""
        k, position = self.locations[variable]
        width = self.section_sizes[k] // len(self.members[k])
        start = sum(self.section_sizes[:k]) + position * width
        return slice(start, start + width)

    def select(self, indices: Sequence[int]) -> Self:
        """Return the groups of some variables, renumbered in the given order.

        Its `source_index` holds the positions of their numbers in the vector of all
        variables.
        """
        numbers = {variable: i for i, variable in enumerate(indices)}
        device = self.source_index.device
        groups, members, positions = [], [], []
        start = 0
        for group, variables in zip(self.groups, self.members, strict=True):
            assert isinstance(group, VariableGroup)
            chosen = [k for k, i in enumerate(variables) if i in numbers]
            if chosen:
                at = torch.tensor(chosen, device=device)
                groups.append(group.select(at))
                members.append([numbers[variables[k]] for k in chosen])
                first = start + at[:, None] * group.width
                own = first + torch.arange(group.width, device=device)
                positions.append(own.flatten())
            start += len(variables) * group.width
        source_index = self.source_index[torch.cat(positions)]
        return type(self)(groups, members, source_index).to(device)
