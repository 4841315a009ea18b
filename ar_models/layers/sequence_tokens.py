"""Columns of lists as sequences with one vector for each position of the list.

For long lists, or many variables per position, a network that reads one vector per
variable is slow. Here it reads one vector per position, and a small masked network
models the variables of a position, given the hidden vector.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.variable_groups import VariableGroup
from ar_models.layers.draws import sample_group
from ar_models.layers.features import InputFeatures
from ar_models.variables import Variable, apply_given

INIT_STD = 0.1
"""Standard deviation of the initial embeddings."""


class ContextMADE(nn.Module):
    """A masked network for the conditionals of a few variables, given a context vector.

    It has one hidden layer. A hidden unit depends on the variables below its degree and
    the context, a parameter on units of earlier variables and the context.

    Reference:
        Boulanger-Lewandowski, Bengio, Vincent, Modeling temporal dependencies in
        high-dimensional sequences, 2012. https://arxiv.org/abs/1206.6392 (with a NADE
        for the notes of a frame; here a masked layer).

    Args:
        variables: The variables, with parents numbered among themselves.
        context: Length of the context vector.
        hidden: Number of hidden units; there are none for a single variable.
        components: Number of components of each mixture.
        embedding: Number of features of a variable with many codes.
    """

    degrees: Tensor  # (hidden,)
    sees: Tensor  # (hidden, features)
    shows: Tensor  # (parameters, hidden)

    def __init__(
        self,
        variables: Sequence[Variable],
        context: int,
        hidden: int,
        *,
        components: int,
        embedding: int,
    ) -> None:
        super().__init__()
        self.inputs = InputFeatures.of(variables, embedding)
        self.layout = ParameterLayout.of(
            variables, components, embedding, factorise=False
        )
        self.context = nn.Linear(context, self.layout.size)
        nn.init.normal_(self.context.weight, std=0.01)
        with torch.no_grad():
            self.context.bias.copy_(self.layout.initial_bias())
        self.chained = len(variables) > 1
        if not self.chained:
            return
        self.first = nn.Linear(self.inputs.size, hidden)
        self.mixing = nn.Linear(context, hidden, bias=False)
        self.last = nn.Linear(hidden, self.layout.size, bias=False)
        nn.init.normal_(self.last.weight, std=0.01)
        # Ascending, so that the units that depend on known variables are a slice.
        degrees = 1 + torch.arange(hidden) * (len(variables) - 1) // hidden
        self.register_buffer("degrees", degrees, persistent=False)
        sees = self.inputs.variable_index < degrees.unsqueeze(-1)
        shows = degrees <= self.layout.variable_index.unsqueeze(-1)
        self.register_buffer("sees", sees, persistent=False)
        self.register_buffer("shows", shows, persistent=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map (batch, variables) and (batch, context) to (batch, parameters)."""
        parameters: Tensor = self.context(context)
        if not self.chained:
            return parameters
        features = self.inputs(x.to(self.first.weight.dtype))
        a = F.linear(features, self.first.weight * self.sees, self.first.bias)
        h = F.relu(a + self.mixing(context))
        return parameters + F.linear(h, self.last.weight * self.shows)


class ContextMADESampler:
    """Incremental sampling from a `ContextMADE`, in about the time of one pass.

    Args:
        within: The network.
    """

    def __init__(self, within: ContextMADE) -> None:
        count = within.layout.dim
        self.within = within
        slices = [within.inputs.slice_of(k) for k in range(count)]
        self.outputs = [within.layout.single(k) for k in range(count)]
        if not within.chained:
            return
        columns = torch.cat([torch.arange(at.start, at.stop) for at in slices])
        self.first = within.first.weight[:, columns.to(within.first.weight.device)]
        widths = [at.stop - at.start for at in slices]
        self.features = [0, *itertools.accumulate(widths)]
        ranks = torch.arange(count, device=within.degrees.device)
        units = torch.searchsorted(within.degrees, ranks, right=True)
        self.units: list[int] = units.tolist()

    def begin(self, context: Tensor) -> None:
        """Start new samples with contexts (batch, width)."""
        self.parameters = self.within.context(context)
        if not self.within.chained:
            return
        before = self.within.mixing(context) + self.within.first.bias
        self.hidden = torch.empty_like(before)
        self.before = before
        self.seen = before.new_empty(len(before), self.features[-1])

    def conditional(self, k: int) -> tuple[VariableGroup, Tensor]:
        """Return the distribution of variable k and its parameters (batch, n).

        All variables before it must have been passed to `learn`.
        """
        group, at = self.outputs[k]
        found = self.parameters[:, at]
        if not self.within.chained or not self.units[k]:
            return group, found
        seen, new = self.features[k], slice(self.units[k - 1], self.units[k])
        told = F.linear(self.seen[:, :seen], self.first[new, :seen])
        self.hidden[:, new] = F.relu(self.before[:, new] + told)
        known = slice(0, self.units[k])
        shown = F.linear(self.hidden[:, known], self.within.last.weight[at, known])
        return group, found + shown

    def learn(self, k: int, x: Tensor) -> None:
        """Condition later variables on variable k of rows (batch, variables)."""
        if not self.within.chained:
            return
        features, _ = self.within.inputs.forward_one(x.to(self.seen.dtype), k)
        self.seen[:, self.features[k] : self.features[k + 1]] = features


class PositionTokens(nn.Module):
    """Embeds and predicts the positions of one column of lists.

    All other variables (the length, other columns) precede the positions and have a
    network of their own; they are embedded in the first vector.

    Args:
        variables: The variables of the model.
        width: Length of the vectors that a network reads and returns.
        hidden: Number of hidden units of the network within a position.
        components: Number of components of each mixture.
        embedding: Number of features of a variable with many codes.

    Attributes:
        layout: Layout of the parameters of all variables.
        head: The variables before the positions.
        places: The variables of each position.

    Raises:
        ValueError: There is not exactly one column of lists, or its positions differ.
    """

    source: Tensor  # (size,), where each parameter of the layout comes from
    members: Tensor  # (places, variables of a place)

    def __init__(
        self,
        variables: Sequence[Variable],
        width: int,
        hidden: int,
        *,
        components: int,
        embedding: int,
    ) -> None:
        super().__init__()
        self.head, self.places = split_list_variables(variables)
        self.layout = ParameterLayout.of(
            variables, components, embedding, factorise=False
        )
        one = reindex_parents(variables, self.places[0])
        settings = {"components": components, "embedding": embedding}
        self.within = ContextMADE(one, width, hidden, **settings)
        self.token = nn.Linear(self.within.inputs.size, width)
        self.start = nn.Parameter(torch.randn(width) * INIT_STD)
        self.before: ContextMADE | None = None
        if self.head:
            others = reindex_parents(variables, self.head)
            self.before = ContextMADE(others, width, hidden, **settings)
            self.head_token = nn.Linear(self.before.inputs.size, width)
        source = _source(self.layout, self.before, self.within, self.head, self.places)
        self.register_buffer("source", source, persistent=False)
        members = torch.tensor(self.places)
        self.register_buffer("members", members, persistent=False)

    def longest(self, x: Tensor) -> int:
        """Return the length of the longest list of a batch plus one.

        At least two, if there are as many, so that every parameter takes part in every
        training step, as distributed training requires.
        """
        taken = (~x[:, self.members].isnan()).any(-1).any(0)
        last = taken.nonzero()
        longest = int(last[-1]) + 1 if len(last) else 0
        return min(max(longest + 1, 2), len(self.places))

    def embed(self, x: Tensor, count: int) -> Tensor:
        """Embed rows (batch, dim) as sequences (batch, count, width).

        Vector k embeds position k - 1 of the list, the first one all that precedes it.
        """
        first = self.first(x)
        if count == 1:
            return first.unsqueeze(1)
        own = x[:, self.members[: count - 1]]
        features = self.within.inputs(own.flatten(0, 1).to(first.dtype))
        vectors = self.token(features).unflatten(0, (len(x), count - 1))
        return torch.cat([first.unsqueeze(1), vectors.to(first.dtype)], 1)

    def first(self, x: Tensor) -> Tensor:
        """Embed what precedes the list, (batch, width)."""
        vector = self.start.expand(len(x), -1)
        if self.before is None:
            return vector
        features = self.before.inputs(x[:, self.head].to(vector.dtype))
        told: Tensor = vector + self.head_token(features)
        return told

    def predict(self, h: Tensor, x: Tensor) -> Conditionals:
        """Return all conditionals from hidden vectors (batch, count, width)."""
        batch, count = h.shape[:2]
        own = x[:, self.members[:count]].flatten(0, 1)
        each = self.within(own, h.flatten(0, 1)).unflatten(0, (batch, count))
        size = self.within.layout.size
        parts = [F.pad(each.flatten(1), (0, (len(self.places) - count) * size))]
        if self.before is not None:
            start = self.start.expand(batch, -1)
            parts.insert(0, self.before(x[:, self.head], start))
        return Conditionals(self.layout, torch.cat(parts, -1)[:, self.source])

    def features(self, x: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the hidden vector after the last position of each row, and their mean.

        Args:
            x: Observations (batch, dim).
            network: Maps the result of `embed` to hidden vectors.

        Returns:
            (batch, 2 * width).
        """
        present = (~x[:, self.members].isnan()).any(-1)
        length = present.sum(-1)
        count = int(length.max()) + 1
        h = network(self.embed(x, count))
        # Vector k has read the places before k.
        last = h[torch.arange(len(x), device=x.device), length]
        read = torch.arange(count, device=x.device) <= length.unsqueeze(-1)
        mean = (h * read.unsqueeze(-1)).sum(1) / read.sum(-1, keepdim=True)
        return torch.cat([last, mean], -1)

    @torch.no_grad()
    def sample(
        self,
        variables: Sequence[Variable],
        noise: Tensor,
        given: Tensor | None,
        advance: Callable[[Tensor], Tensor],
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Sample rows with one step of the network per position, (batch, dim).

        Args:
            variables: The variables of the model.
            noise: Uniform numbers (batch, dim, 2).
            given: Known values (batch, dim), NaN where free; None: none.
            advance: Maps vector k of `embed`, (batch, width), to hidden vector k.
            sampling: Temperature and top-p of every conditional.
        """
        x = noise.new_full((len(noise), len(variables)), torch.nan)

        def chain(
            own: ContextMADESampler, indices: Sequence[int], context: Tensor
        ) -> None:
            own.begin(context)
            for k, i in enumerate(indices):
                group, parameters = own.conditional(k)
                free = sample_group(group, parameters, noise[:, i], sampling)
                known = None if given is None else given[:, i]
                x[:, i] = apply_given(variables[i], free, known, x)
                own.learn(k, x[:, indices])

        if self.before is not None:
            chain(
                ContextMADESampler(self.before),
                self.head,
                self.start.expand(len(x), -1),
            )
        vector = self.first(x)
        within = ContextMADESampler(self.within)
        for indices in self.places:
            chain(within, indices, advance(vector))
            if bool(x[:, indices].isnan().all()):
                break
            features = self.within.inputs(x[:, indices].to(vector.dtype))
            vector = self.token(features)
        return x


def split_list_variables(
    variables: Sequence[Variable],
) -> tuple[list[int], list[list[int]]]:
    """Return the variables before the positions, and those of each position.

    Raises:
        ValueError: There is not exactly one column of lists, or its positions differ.
    """
    columns = {v.column_index for v in variables if v.place is not None}
    if len(columns) != 1:
        raise ValueError(
            "steps 'places' need exactly one column of lists, got "
            f"{len(columns)}; leave the others out, or take steps 'variables'"
        )
    head = [i for i, v in enumerate(variables) if v.place is None]
    # Other columns come before the length, as `group_order` has them.
    head.sort(key=lambda i: variables[i].column_index in columns)
    places: dict[int, list[int]] = {}
    for i, v in enumerate(variables):
        if v.place is not None:
            places.setdefault(v.place, []).append(i)
    chains = list(places.values())
    kinds = [[(variables[i].kind, variables[i].size) for i in c] for c in chains]
    if any(kind != kinds[0] for kind in kinds):
        raise ValueError(
            "steps 'places' needs the same kinds of variables at every place of the "
            "list; take steps 'variables'"
        )
    return head, chains


def group_order(variables: Sequence[Variable]) -> list[int]:
    """Return the groups of variables with those of list positions last."""
    last = {v.group for v in variables if v.place is not None}
    groups = list(dict.fromkeys(v.group for v in variables))
    return [g for g in groups if g not in last] + [g for g in groups if g in last]


def reindex_parents(
    variables: Sequence[Variable], indices: Sequence[int]
) -> tuple[Variable, ...]:
    """Return some variables with parents renumbered among them."""
    rank = {i: k for k, i in enumerate(indices)}
    chosen = []
    for i in indices:
        parent = variables[i].parent
        inside = None if parent is None else rank.get(parent)
        chosen.append(replace(variables[i], parent=inside))
    return tuple(chosen)


def _source(
    layout: ParameterLayout,
    before: ContextMADE | None,
    within: ContextMADE,
    head: Sequence[int],
    places: Sequence[Sequence[int]],
) -> Tensor:
    """Return the index of each parameter among those of head and positions."""
    sequence = [*head, *(i for chain in places for i in chain)]
    rank = torch.empty(len(sequence), dtype=torch.long)
    rank[torch.tensor(sequence)] = torch.arange(len(sequence))
    target = rank[layout.variable_index].argsort(stable=True)
    parts, start = [], 0
    if before is not None:
        parts.append(before.layout.variable_index.argsort(stable=True))
        start = before.layout.size
    own = within.layout.variable_index.argsort(stable=True)
    for k in range(len(places)):
        parts.append(start + k * within.layout.size + own)
    source: Tensor = torch.cat(parts)[target.argsort()]
    return source
