"""Fully visible sigmoid belief network: one regression per variable."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ar_models.autoregressive import (
    AutoregressiveModel,
    Ordering,
    columns_given,
    settle,
)
from ar_models.conditionals import (
    EXACT,
    Conditional,
    Conditionals,
    Layout,
    Tempering,
    precise,
)
from ar_models.inputs import Inputs
from ar_models.masked_linear import MaskedLinear
from ar_models.variables import Variable

DRAWN_TOGETHER = 32
"""Variables to whose parameters one matrix product brings all earlier variables."""


class FVSBN(AutoregressiveModel):
    """One generalised linear regression per variable, on those before it.

    Logistic for a binary variable, softmax for a categorical one; the weights,
    locations and log-scales of the mixtures of numbers are linear, too. All are linear
    in the features that `Inputs` makes of a variable, so a number's effect is piecewise
    linear.

    Reference:
        Neal, Connectionist learning of belief networks, 1992.
        https://doi.org/10.1016/0004-3702(92)90065-6
        Frey, Graphical models for machine learning and digital communication, 1998.
        (The published models are over binary variables.)

    Args:
        variables: What each column of `x` is.
        orderings: Orderings that are averaged; they share their weights.
        ordering: "natural", "random", or the sequence of groups of every ordering.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        seed: Of random orderings.

    Example:
        >>> from ar_models.variables import binary
        >>> model = FVSBN(binary(3))
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        orderings: int = 1,
        ordering: Ordering = "natural",
        components: int = 8,
        embedding: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(variables, orderings=orderings, ordering=ordering, seed=seed)
        self.settings: dict[str, Any] = {
            "orderings": orderings,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "components": components,
            "embedding": embedding,
            "seed": seed,
        }
        self.inputs = Inputs.of(variables, embedding)
        self.layout = Layout.of(variables, components, embedding)
        self.linear = MaskedLinear(self.inputs.size, self.layout.size)
        # Not zero, from which embeddings would never learn.
        nn.init.normal_(self.linear.weight, std=1e-2)
        with torch.no_grad():
            self.linear.bias.copy_(self.layout.initial_bias())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        ranks = self.ordering(which).argsort()
        of_inputs = ranks[self.inputs.owner] + 1
        of_outputs = ranks[self.layout.owner]
        features = self.inputs(x.to(self.linear.weight.dtype))
        parameters = self.linear(features, of_inputs, of_outputs, which)
        return Conditionals(self.layout, parameters)

    def features(self, x: Tensor) -> Tensor:
        """The parameters of all conditionals: there are no hidden units."""
        return self.conditionals(x).parameters

    def config(self) -> dict[str, Any]:
        return dict(self.settings)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        # Arrays are (numbers, batch): then a variable is contiguous.
        uniform = noise.permute(1, 2, 0).contiguous()
        x = noise.new_full((self.dim, len(noise)), torch.nan)
        known = columns_given(given, self.dim)
        # Features of variables not drawn yet are 0, so nothing needs a mask.
        seen = noise.new_zeros(self.inputs.size, len(noise))
        weight, bias = self.linear.weight, self.linear.bias.unsqueeze(-1)
        order = self.sequence(which)
        for start in range(0, self.dim, DRAWN_TOGETHER):
            block = order[start : start + DRAWN_TOGETHER]
            taken = [self.layout.alone(i) for i in block]
            rows = torch.cat([self.layout.places[at] for _, at in taken])
            ahead = torch.addmm(bias[rows], weight[rows], seen)
            for i, (group, _) in zip(block, taken, strict=True):
                assert isinstance(group, Conditional)
                own, ahead = ahead.split([group.width, len(ahead) - group.width])
                rows = rows[group.width :]
                free = group.sample(
                    precise(own).T.unsqueeze(1), uniform[i].T.unsqueeze(1), tempering
                )
                x[i] = settle(
                    self.variables[i],
                    free.squeeze(1),
                    known[i],
                    x.T,
                )
                features, places = self.inputs.of_one(x[i], i)
                seen[places] = features.T
                ahead = torch.addmm(ahead, weight[rows, places], features.T)
        return x.T.contiguous()
