"""A stack of hidden layers, plain or in residual blocks."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.layers.dropout import Dropout

RESIDUAL_STD = 1e-3
"""Standard deviation of the initial weights that end a residual block."""


class HiddenLayers(nn.Module):
    """The hidden layers of a feed-forward network, after the first one.

    Plain layers are ReLU, dropout and a linear map each. A residual block is ReLU, a
    linear map, ReLU, dropout and a linear map, whose output is added to the block's
    input.

    Reference:
        He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016.
        https://arxiv.org/abs/1603.05027 (residual blocks).

    Args:
        hidden: Units per layer.
        layers: Number of residual blocks, or of plain layers including the first one.
        residual: Whether the layers form residual blocks.
        dropout: Share of units dropped in train mode.
        linear: Makes a map from its numbers of inputs and outputs.
    """

    def __init__(
        self,
        hidden: int,
        layers: int,
        *,
        residual: bool = True,
        dropout: float = 0.0,
        linear: Callable[[int, int], nn.Module] = nn.Linear,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.dropout = Dropout(dropout)
        count = 2 * layers if residual else layers - 1
        self.maps = nn.ModuleList(linear(hidden, hidden) for _ in range(count))

    def shrink_residuals(self) -> None:
        """Initialise the blocks near the identity, from torch's random numbers."""
        if self.residual:
            for linear in self.maps[1::2]:
                nn.init.normal_(linear.get_parameter("weight"), std=RESIDUAL_STD)

    def forward(self, h: Tensor, *arguments: Tensor | int) -> list[Tensor]:
        """Return the pre-activations of all hidden layers, the given one first.

        Of a residual network, it returns the residual stream before and after each
        block.

        Args:
            h: Pre-activation of the first hidden layer (batch, hidden).
            arguments: Further arguments of each map.
        """
        layers = [h]
        if self.residual:
            for first, second in zip(self.maps[::2], self.maps[1::2], strict=True):
                inner = F.relu(first(F.relu(h), *arguments))
                h = h + second(self.dropout(inner), *arguments)
                layers.append(h)
            return layers
        for linear in self.maps:
            h = linear(self.dropout(F.relu(h)), *arguments)
            layers.append(h)
        return [*layers[:-1], self.dropout(h)]
