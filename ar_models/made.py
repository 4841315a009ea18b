"""Masked autoencoder for distribution estimation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.autoregressive import AutoregressiveModel, Ordering
from ar_models.conditionals import Conditionals, Layout
from ar_models.inputs import Inputs
from ar_models.variables import Variable


class MaskedLinear(nn.Module):
    """A linear map in which an output sees the inputs of at most its own degree.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.weight = linear.weight
        self.bias = linear.bias
        self._kept: dict[int, tuple[tuple[object, ...], Tensor]] = {}

    def forward(
        self, x: Tensor, of_inputs: Tensor, of_outputs: Tensor, which: int = 0
    ) -> Tensor:
        """(batch, inputs) -> (batch, outputs).

        Args:
            x: The inputs.
            of_inputs: Their degrees, (inputs,).
            of_outputs: The outputs' degrees, (outputs,).
            which: Number of this pair of degrees; always the same pair.
        """
        return F.linear(x, self.masked(of_inputs, of_outputs, which), self.bias)

    def masked(self, of_inputs: Tensor, of_outputs: Tensor, which: int) -> Tensor:
        """The weight where a degree allows it, else 0: (outputs, inputs).

        In eval mode without gradients it is kept until the weight changes.
        """
        weight = self.weight
        keep = not self.training and not weight.is_inference()
        if torch.is_grad_enabled() or not keep:
            return weight * (of_inputs <= of_outputs.unsqueeze(-1))
        # Every change in place raises the version; `to` moves or converts the data.
        state = (weight._version, weight.data_ptr(), weight.dtype, weight.device)
        kept = self._kept.get(which)
        if kept is None or kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                mask = of_inputs <= of_outputs.unsqueeze(-1)
                kept = state, weight * mask
            self._kept[which] = kept
        return kept[1]

    def train(self, mode: bool = True) -> "MaskedLinear":
        self._kept.clear()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}


class MADE(AutoregressiveModel):
    """A network masked so that each output sees only earlier variables.

    Hidden unit k has a degree, and sees the variables that come before it in the
    ordering by number; degrees ascend with k, so that samples can be drawn in the time
    of one pass. With `residual`, each layer is a block of two masked maps around which
    the hidden vector passes unchanged.

    Reference:
        Germain, Gregor, Murray, Larochelle, MADE, 2015.
        https://arxiv.org/abs/1502.03509 (with random degrees, and fresh masks).
        Nash, Durkan, Autoregressive energy machines, 2019.
        https://arxiv.org/abs/1904.05626 (residual blocks).

    Args:
        variables: What each column of `x` is.
        hidden: Units per hidden layer.
        layers: Hidden layers, or residual blocks after the first hidden layer.
        residual: Whether there are residual blocks.
        orderings: Orderings that are averaged.
        ordering: "natural", "random", or the sequence of groups of every ordering.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        dropout: Share of hidden units left out in train mode.
        seed: Of random orderings.

    Example:
        >>> from ar_models.variables import binary
        >>> model = MADE(binary(3), hidden=16)
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    degrees: Tensor  # (hidden,), ascending

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        hidden: int = 512,
        layers: int = 2,
        residual: bool = True,
        orderings: int = 1,
        ordering: Ordering = "natural",
        components: int = 8,
        embedding: int = 16,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(variables, orderings=orderings, ordering=ordering, seed=seed)
        if hidden < 1 or layers < 1:
            raise ValueError(
                f"hidden and layers must be at least 1, got {hidden} and {layers}"
            )
        self.settings: dict[str, Any] = {
            "hidden": hidden,
            "layers": layers,
            "residual": residual,
            "orderings": orderings,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "components": components,
            "embedding": embedding,
            "dropout": dropout,
            "seed": seed,
        }
        self.residual = residual
        self.dropout = nn.Dropout(dropout)
        self.inputs = Inputs.of(variables, embedding)
        self.layout = Layout.of(variables, components, embedding)
        self.first = MaskedLinear(self.inputs.size, hidden)
        inner = 2 * layers if residual else layers - 1
        self.inner = nn.ModuleList(MaskedLinear(hidden, hidden) for _ in range(inner))
        self.last = MaskedLinear(hidden, self.layout.size)
        if residual:
            for linear in self.inner[1::2]:
                nn.init.normal_(linear.get_parameter("weight"), std=1e-3)
        nn.init.normal_(self.last.weight, std=1e-2)
        with torch.no_grad():
            self.last.bias.copy_(self.layout.initial_bias())
        degrees = 1 + torch.arange(hidden) * max(self.dim - 1, 1) // hidden
        self.register_buffer("degrees", degrees, persistent=False)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        h = self.hidden(x, which)
        ranks = self.ordering(which).argsort()
        of_outputs = ranks[self.layout.owner]
        parameters = self.last(h, self.degrees, of_outputs, which)
        return Conditionals(self.layout, parameters)

    def hidden(self, x: Tensor, which: int = 0) -> Tensor:
        """The last hidden layer: (batch, dim) -> (batch, hidden)."""
        ranks = self.ordering(which).argsort()
        of_inputs = ranks[self.inputs.owner] + 1
        features = self.inputs(x.to(self.first.weight.dtype))
        h: Tensor = self.first(features, of_inputs, self.degrees, which)
        if self.residual:
            for one, other in zip(self.inner[::2], self.inner[1::2], strict=True):
                within = one(F.relu(h), self.degrees, self.degrees)
                h = h + other(self.dropout(F.relu(within)), self.degrees, self.degrees)
            return F.relu(h)
        for linear in self.inner:
            h = linear(self.dropout(F.relu(h)), self.degrees, self.degrees)
        return F.relu(self.dropout(h))

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x)

    def config(self) -> dict[str, Any]:
        return dict(self.settings)
