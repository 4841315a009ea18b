"""Linear maps from hidden vectors to the parameters of conditional distributions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.variable_groups import VariableGroup

INITIAL_STD = 0.01
"""Standard deviation of the initial weights: the first outputs are near the biases."""


class Heads(nn.Module):
    """Linear maps to parameters, one for each variable.

    For networks that compute a hidden vector for each variable from those before it.
    Before training, outputs are near the marginal distributions.

    Args:
        layout: The layout of the parameters, which the enclosing model owns.
        width: Length of each hidden vector.
        rows: Number of rows of the weights; by default one for each parameter.
    """

    def __init__(
        self, layout: ParameterLayout, width: int, rows: int | None = None
    ) -> None:
        super().__init__()
        # In a list, so that the layout's own parameters are not registered twice.
        self._layout = [layout]
        self.weight = nn.Parameter(
            torch.randn(rows or layout.size, width) * INITIAL_STD
        )
        self.bias = nn.Parameter(layout.initial_bias())

    def forward(self, h: Tensor) -> Tensor:
        """Map hidden vectors (batch, dim, width) to parameters (batch, size)."""
        layout = self._layout[0]
        weight, bias = self.weight[layout.source_index], self.bias[layout.source_index]
        parts = []
        sections = weight.split(layout.section_sizes)
        for k, section in enumerate(sections):
            own = section.unflatten(0, (len(layout.members[k]), -1))
            parameters = torch.einsum("bnh,nwh->bnw", layout.gather(k, h), own)
            parts.append(parameters.flatten(1))
        return torch.cat(parts, -1) + bias

    def forward_one(self, h: Tensor, i: int) -> tuple[VariableGroup, Tensor]:
        """Return the distribution of variable `i` and its parameters (batch, n).

        Args:
            h: Hidden vectors of this variable, (batch, width).
            i: Index of the variable.
        """
        group, at = self._layout[0].single(i)
        return group, F.linear(h, self._weight_of(at), self.bias[at])

    def _weight_of(self, at: slice) -> Tensor:
        """Return the weights of the parameters of one variable."""
        return self.weight[at]


class SharedHeads(Heads):
    """One linear map to the parameters of all variables, which are of one kind.

    Each variable has a bias of its own, so that outputs before training are near the
    marginal distributions.

    Args:
        layout: The layout of the parameters, which the enclosing model owns.
        width: Length of each hidden vector.
    """

    def __init__(self, layout: ParameterLayout, width: int) -> None:
        super().__init__(layout, width, layout.size // layout.dim)

    def forward(self, h: Tensor) -> Tensor:
        """Map hidden vectors (batch, dim, width) to parameters (batch, size)."""
        return F.linear(h, self.weight).flatten(1) + self.bias

    def _weight_of(self, at: slice) -> Tensor:
        return self.weight
