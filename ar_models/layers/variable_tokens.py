"""Rows as sequences with one vector for each variable."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.layers.draws import sample_group
from ar_models.layers.features import InputFeatures
from ar_models.layers.heads import Heads, SharedHeads
from ar_models.variables import Variable, apply_given

INIT_STD = 0.1
"""Standard deviation of the initial embeddings."""


class ValueEmbedding(nn.Module):
    """Embeddings of values by a linear map for each variable.

    The embedding of an absent variable is 0.

    Args:
        variables: The variables of the model.
        width: Length of each vector.
        embedding: Number of features of a variable with many codes.
    """

    def __init__(
        self, variables: Sequence[Variable], width: int, embedding: int = 16
    ) -> None:
        super().__init__()
        self.inputs = InputFeatures.of(variables, embedding)
        self.weight = nn.Parameter(torch.randn(self.inputs.size, width) * INIT_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Embed rows: (batch, dim) -> (batch, dim, width)."""
        inputs = self.inputs
        features = inputs.split(inputs(x.to(self.weight.dtype)))
        weights = self.weight[inputs.source_index].split(inputs.section_sizes)
        parts = []
        for part, weight in zip(features, weights, strict=True):
            own = weight.unflatten(0, part.shape[1:])  # (count, features, width)
            if part.shape[-1] == 1:
                parts.append(part * own.squeeze(1))
            else:
                parts.append(torch.einsum("bnf,nfw->bnw", part, own))
        return inputs.merge(parts)

    def forward_one(self, x: Tensor, i: int) -> Tensor:
        """Embed variable `i` of rows: (batch, dim) -> (batch, width)."""
        features, at = self.inputs.forward_one(x.to(self.weight.dtype), i)
        return features @ self.weight[at]


class SharedValueEmbedding(nn.Module):
    """Embeddings of values by one linear map for all variables.

    For variables of one kind, such as pixels or characters. The embedding of an absent
    variable is 0.

    Args:
        variables: The variables of the model, all of one kind and size.
        width: Length of each vector.
    """

    def __init__(self, variables: Sequence[Variable], width: int) -> None:
        super().__init__()
        require_alike(variables)
        size = variables[0].size
        self.inputs = None if size else InputFeatures.of(variables)
        rows = size if self.inputs is None else self.inputs.size // self.inputs.dim
        self.weight = nn.Parameter(torch.randn(rows, width) * INIT_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Embed rows: (batch, dim) -> (batch, dim, width)."""
        if self.inputs is None:
            return self._of_codes(x)
        (features,) = self.inputs.split(self.inputs(x.to(self.weight.dtype)))
        return features @ self.weight

    def forward_one(self, x: Tensor, i: int) -> Tensor:
        """Embed variable `i` of rows: (batch, dim) -> (batch, width)."""
        if self.inputs is None:
            return self._of_codes(x[:, i])
        features, _ = self.inputs.forward_one(x.to(self.weight.dtype), i)
        return features @ self.weight

    def _of_codes(self, x: Tensor) -> Tensor:
        code = x.nan_to_num().long().clamp(0, len(self.weight) - 1)
        return F.embedding(code, self.weight).masked_fill(x.isnan().unsqueeze(-1), 0)


def require_alike(variables: Sequence[Variable]) -> None:
    """Raise ValueError unless one map can embed and one predict all variables."""
    for grouping in (ParameterLayout.of(variables), InputFeatures.of(variables)):
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


class VariableTokens(nn.Module):
    """Embeds and predicts the variables of a row as a sequence, in any ordering.

    Vector k encodes the last variable, its value, and which variable comes next, so
    that one network can serve every ordering.

    Args:
        variables: The variables of the model.
        width: Length of each vector.
        components: Number of components of each mixture.
        embedding: Number of features of a variable with many codes.
        shared: Whether all variables share one embedding and one head.

    Attributes:
        layout: Layout of the parameters.
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
        self.layout = ParameterLayout.of(
            variables, components, embedding, factorise=not shared
        )
        self.tokens: ValueEmbedding | SharedValueEmbedding
        self.heads: Heads | SharedHeads
        if shared:
            self.tokens = SharedValueEmbedding(variables, width)
            self.heads = SharedHeads(self.layout, width)
        else:
            self.tokens = ValueEmbedding(variables, width, embedding)
            self.heads = Heads(self.layout, width)
        dim = len(variables)
        self.start = nn.Parameter(torch.randn(width) * INIT_STD)
        self.last = nn.Parameter(torch.randn(dim, width) * INIT_STD)
        self.next = nn.Parameter(torch.randn(dim, width) * INIT_STD)

    def embed(self, x: Tensor, order: Tensor) -> Tensor:
        """Embed rows (batch, dim) as sequences (batch, dim + 1, width).

        Vector k encodes the variables k - 1 and k of the ordering. The first vector has
        no variable before it, the last none after it.

        Args:
            x: Observations, (batch, dim).
            order: The ordering, (dim,), or one per row, (batch, dim).
        """
        return self.embed_values(x, order) + F.pad(self.next[order], (0, 0, 0, 1))

    def embed_values(self, x: Tensor, order: Tensor) -> Tensor:
        """Return the part of `embed` that encodes the last variable and its value."""
        vectors = self.tokens(x) + self.last
        if order.dim() == 1:
            vectors = vectors[:, order]
        else:
            vectors = torch.take_along_dim(vectors, order.unsqueeze(-1), 1)
        return torch.cat([self.start.expand(x.shape[0], 1, -1), vectors], 1)

    def predict(self, h: Tensor, order: Tensor) -> Conditionals:
        """Return conditionals from hidden vectors (batch, dim, width)."""
        ranks = order.argsort(-1)
        if order.dim() == 1:
            h = h[:, ranks]
        else:
            h = torch.take_along_dim(h, ranks.unsqueeze(-1), 1)
        return Conditionals(self.layout, self.heads(h))

    @torch.no_grad()
    def sample(
        self,
        variables: Sequence[Variable],
        noise: Tensor,
        given: Tensor | None,
        order: Tensor | Sequence[int],
        advance: Callable[[Tensor], Tensor],
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Sample rows with one step of the network per variable, (batch, dim).

        Args:
            variables: The variables of the model.
            noise: Uniform numbers (batch, dim, 2).
            given: Known values (batch, dim), NaN where free; None: none.
            order: The ordering, or one per row, (batch, dim).
            advance: Maps vector k of `embed`, (batch, width), to hidden vector k; it
                is called once for each k in turn.
            sampling: Temperature and top-p of every conditional.
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
                group, parameters = self.heads.forward_one(h[rows], i)
                free = sample_group(group, parameters, noise[rows][:, i], sampling)
                known = None if given is None else given[rows, i]
                value = apply_given(variables[i], free, known, x[rows])
                x[rows, i] = value
                vector[rows] = self.tokens.forward_one(x[rows], i) + self.last[i]
        return x


def random_orderings(variables: Sequence[Variable], keys: Tensor) -> Tensor:
    """Sample an ordering for each row, uniformly.

    Orderings keep the variables of a group in their order.

    Args:
        variables: The variables of the model.
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
