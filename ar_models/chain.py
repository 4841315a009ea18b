"""The variables of a row as a sequence of vectors, for networks that read sequences."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.autoregressive import settle
from ar_models.conditionals import (
    EXACT,
    Conditional,
    Conditionals,
    Heads,
    Layout,
    Tempering,
    precise,
)
from ar_models.inputs import Inputs
from ar_models.variables import Variable

SPREAD = 0.1
"""Standard deviation of the first vectors."""


class Tokens(nn.Module):
    """A vector per variable from its value, by a linear map of the variable's own.

    The mirror of `Heads`. The vector of an absent variable is 0.

    Args:
        variables: Of the model.
        width: Length of each vector.
        embedding: Width in which large vocabularies are embedded.
    """

    def __init__(
        self, variables: Sequence[Variable], width: int, embedding: int = 16
    ) -> None:
        super().__init__()
        self.inputs = Inputs.of(variables, embedding)
        self.weight = nn.Parameter(torch.randn(self.inputs.size, width) * SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, dim) -> (batch, dim, width)."""
        inputs = self.inputs
        features = inputs.split(inputs(x.to(self.weight.dtype)))
        weights = self.weight[inputs.places].split(inputs.sections)
        parts = []
        for part, weight in zip(features, weights, strict=True):
            own = weight.unflatten(0, part.shape[1:])  # (count, features, width)
            if part.shape[-1] == 1:
                parts.append(part * own.squeeze(1))
            else:
                parts.append(torch.einsum("bnf,nfw->bnw", part, own))
        return inputs.restore(parts)

    def alone(self, x: Tensor, i: int) -> Tensor:
        """That of variable `i`: (batch,) -> (batch, width)."""
        features, at = self.inputs.of_one(x.to(self.weight.dtype), i)
        return features @ self.weight[at]


class SharedTokens(nn.Module):
    """A vector per variable from its value, by one map for all of them.

    For variables that are alike, such as pixels or characters. The vector of an absent
    variable is 0.

    Args:
        variables: Of the model, all of one kind and width.
        width: Length of each vector.
    """

    def __init__(self, variables: Sequence[Variable], width: int) -> None:
        super().__init__()
        require_alike(variables)
        size = variables[0].size
        self.inputs = None if size else Inputs.of(variables)
        rows = size if self.inputs is None else self.inputs.size // self.inputs.dim
        self.weight = nn.Parameter(torch.randn(rows, width) * SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, dim) -> (batch, dim, width), as `Tokens`."""
        if self.inputs is None:
            return self._of_codes(x)
        (features,) = self.inputs.split(self.inputs(x.to(self.weight.dtype)))
        return features @ self.weight

    def alone(self, x: Tensor, i: int) -> Tensor:
        """That of variable `i`: (batch,) -> (batch, width)."""
        if self.inputs is None:
            return self._of_codes(x)
        features, _ = self.inputs.of_one(x.to(self.weight.dtype), i)
        return features @ self.weight

    def _of_codes(self, x: Tensor) -> Tensor:
        code = x.nan_to_num().long().clamp(0, len(self.weight) - 1)
        return F.embedding(code, self.weight).masked_fill(x.isnan().unsqueeze(-1), 0)


class SharedHeads(nn.Module):
    """Parameters from one hidden vector per variable, by one map for all of them.

    As `Heads`, for variables that are alike. Each has a bias of its own, so that the
    start is near the marginal distributions here too.

    Args:
        layout: Of the model's variables, all of one kind and width.
        width: Length of each hidden vector.
    """

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        # The layout's tables belong to the model that holds it.
        self._layout = [layout]
        rows = layout.size // layout.dim
        self.weight = nn.Parameter(torch.randn(rows, width) * 0.01)
        self.bias = nn.Parameter(layout.initial_bias())

    def forward(self, h: Tensor) -> Tensor:
        """The parameters (batch, size) from hidden vectors (batch, dim, width)."""
        return F.linear(h, self.weight).flatten(1) + self.bias

    def alone(self, h: Tensor, i: int) -> tuple[Conditional, Tensor]:
        """As `Heads.alone`."""
        group, at = self._layout[0].alone(i)
        assert isinstance(group, Conditional)
        return group, F.linear(h, self.weight, self.bias[at])


def require_alike(variables: Sequence[Variable]) -> None:
    """Raises ValueError unless one map can read, and one predict, every variable."""
    for grouping in (Layout.of(variables), Inputs.of(variables)):
        if len(grouping.groups) > 1:
            one, other = (_describe(variables[m[0]]) for m in grouping.members[:2])
            raise ValueError(
                "a map shared by all variables needs variables of one kind and size, "
                f"with equally many atoms and knots, got {one} and {other}"
            )


def _describe(variable: Variable) -> str:
    parts = (
        f"{variable.size} codes"
        if variable.size
        else f"{len(variable.atoms)} atoms, {len(variable.knots)} knots"
    )
    return f"{variable.name} ({variable.kind}, {parts})"


class Chain(nn.Module):
    """Reads and predicts variables as a sequence, in any ordering.

    Vector k tells which variable came last and its value, and which comes next. So one
    network serves every ordering.

    Args:
        variables: Of the model.
        width: Length of each vector.
        components: Components of each mixture.
        embedding: Width in which large vocabularies are embedded.
        shared: Whether one map reads, and one predicts, all variables.

    Attributes:
        layout: Of the parameters.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        width: int,
        *,
        components: int,
        embedding: int,
        shared: bool,
    ) -> None:
        super().__init__()
        self.layout = Layout.of(variables, components, embedding, factorise=not shared)
        self.tokens: Tokens | SharedTokens
        self.heads: Heads | SharedHeads
        if shared:
            self.tokens = SharedTokens(variables, width)
            self.heads = SharedHeads(self.layout, width)
        else:
            self.tokens = Tokens(variables, width, embedding)
            self.heads = Heads(self.layout, width)
        dim = len(variables)
        self.start = nn.Parameter(torch.randn(width) * SPREAD)
        self.last = nn.Parameter(torch.randn(dim, width) * SPREAD)
        self.next = nn.Parameter(torch.randn(dim, width) * SPREAD)

    def read(self, x: Tensor, order: Tensor) -> Tensor:
        """What a network reads: (batch, dim) -> (batch, dim + 1, width).

        Vector k is of the variables k - 1 and k in the ordering. The first has none
        before it, the last none after it.

        Args:
            x: Observations.
            order: The ordering, (dim,), or one per row, (batch, dim).
        """
        return self.values(x, order) + F.pad(self.next[order], (0, 0, 0, 1))

    def values(self, x: Tensor, order: Tensor) -> Tensor:
        """The part of `read` that tells which variable came last and its value."""
        vectors = self.tokens(x) + self.last
        if order.dim() == 1:
            vectors = vectors[:, order]
        else:
            vectors = torch.take_along_dim(vectors, order.unsqueeze(-1), 1)
        return torch.cat([self.start.expand(x.shape[0], 1, -1), vectors], 1)

    def predict(self, h: Tensor, order: Tensor) -> Conditionals:
        """Conditionals from hidden vectors (batch, dim, width), as `read`."""
        ranks = order.argsort(-1)
        if order.dim() == 1:
            h = h[:, ranks]
        else:
            h = torch.take_along_dim(h, ranks.unsqueeze(-1), 1)
        return Conditionals(self.layout, self.heads(h))

    @torch.no_grad()
    def draw(
        self,
        variables: Sequence[Variable],
        noise: Tensor,
        given: Tensor | None,
        order: Tensor | Sequence[int],
        advance: Callable[[Tensor], Tensor],
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """Samples, one step of the network per variable: (batch, dim).

        Args:
            variables: Of the model.
            noise: Uniform numbers (batch, dim, 2).
            given: Known values (batch, dim), NaN where free; None: nothing.
            order: The ordering, or one per row, (batch, dim).
            advance: Takes vector k of `read`, (batch, width), to hidden vector k. It
                is called once for each k, in turn.
            tempering: Of every conditional.
        """
        x = noise.new_full((len(noise), len(variables)), torch.nan)
        vector = self.start.expand(len(x), -1)
        places: list[tuple[int, slice | Tensor]]
        for place in range(len(variables)):
            if not isinstance(order, Tensor):
                i = order[place]
                h = advance(vector + self.next[i])
                places = [(i, slice(None))]
            else:
                h = advance(vector + self.next[order[:, place]])
                # A step of the network serves all rows, whatever they take next.
                places = [
                    (i, (order[:, place] == i).nonzero()[:, 0])
                    for i in order[:, place].unique().tolist()
                ]
            vector = torch.empty_like(h)
            for i, rows in places:
                group, parameters = self.heads.alone(h[rows], i)
                uniform = noise[rows][:, i].unsqueeze(1)
                free = group.sample(
                    precise(parameters).unsqueeze(1), uniform, tempering
                )
                known = None if given is None else given[rows, i]
                value = settle(variables[i], free.squeeze(1), known, x[rows])
                x[rows, i] = value
                vector[rows] = self.tokens.alone(value, i) + self.last[i]
        return x


def random_orders(variables: Sequence[Variable], keys: Tensor) -> Tensor:
    """Random orderings, one per row.

    Any that keep the variables of a group in their order, all equally likely.

    Args:
        variables: Of the model.
        keys: Uniform numbers (batch, dim).

    Returns:
        (batch, dim).
    """
    groups = torch.tensor([v.group for v in variables], device=keys.device)
    by_group = groups.argsort(stable=True)
    # Each group's keys are dealt out in ascending order along its chain.
    by_key = keys.argsort(-1)
    dealt = by_key.gather(-1, groups[by_key].argsort(stable=True, dim=-1))
    sorted_keys = torch.empty_like(keys)
    sorted_keys[:, by_group] = keys.gather(-1, dealt)
    order: Tensor = sorted_keys.argsort(stable=True, dim=-1)
    return order
