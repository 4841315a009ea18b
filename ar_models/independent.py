"""The baseline: every variable from its marginal distribution."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ar_models.autoregressive import AutoregressiveModel, settle
from ar_models.conditionals import EXACT, Conditionals, Layout, Tempering
from ar_models.variables import Variable


class Independent(AutoregressiveModel):
    """The same conditionals as the other families', but conditioned on nothing.

    A variable's absence still follows from its parent's sample, so rows are as well
    formed as any.

    Args:
        variables: What each column of `x` is.
        components: Components of each mixture.
        embedding: A quarter of the rank of large vocabularies' tables.

    Example:
        >>> from ar_models.variables import binary
        >>> model = Independent(binary(3))
        >>> model.log_prob(torch.zeros(5, 3))[0]
        tensor(-2.0794, grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        components: int = 8,
        embedding: int = 16,
    ) -> None:
        super().__init__(variables)
        self.components = components
        self.embedding = embedding
        self.layout = Layout.of(variables, components, embedding)
        self.bias = nn.Parameter(self.layout.initial_bias())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        return Conditionals(self.layout, self.bias.expand(x.shape[0], -1))

    def features(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 0)

    def config(self) -> dict[str, Any]:
        return {"components": self.components, "embedding": self.embedding}

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        x = noise.new_full((len(noise), self.dim), torch.nan)
        free = self.conditionals(x).sample(noise, tempering)
        for i in self.sequence(which):
            known = None if given is None else given[:, i]
            x[:, i] = settle(self.variables[i], free[:, i], known, x)
        return x
