"""The places of a sequence as a sequence of vectors, and what a place holds as a chain.

Where a column of lists is long, or a place of it holds many variables, a network that
reads a vector per variable is slow. Here it reads a vector per place, and the variables
of a place are chained within it by a small masked network that sees the hidden vector.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.autoregressive import settle
from ar_models.conditionals import (
    EXACT,
    Conditional,
    Conditionals,
    Layout,
    Tempering,
    precise,
)
from ar_models.inputs import Inputs
from ar_models.variables import Variable

SPREAD = 0.1
"""Standard deviation of the first vectors."""


class Within(nn.Module):
    """The parameters of a few variables, chained, given a context.

    One masked hidden layer: hidden unit k sees the variables up to its degree and the
    context, a parameter sees the units of variables before its own and the context.

    Reference:
        Boulanger-Lewandowski, Bengio, Vincent, Modeling temporal dependencies in
        high-dimensional sequences, 2012. https://arxiv.org/abs/1206.6392 (where a NADE
        chains the notes of a frame; here a masked layer).

    Args:
        variables: Of the chain; parents are counted within it.
        context: Length of the context vector.
        hidden: Units of the hidden layer; there is none for a single variable.
        components: Components of each mixture.
        embedding: Width in which large vocabularies are embedded.
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
        self.inputs = Inputs.of(variables, embedding)
        self.layout = Layout.of(variables, components, embedding, factorise=False)
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
        # Ascending, so that what is known of a chain so far is a slice.
        degrees = 1 + torch.arange(hidden) * (len(variables) - 1) // hidden
        self.register_buffer("degrees", degrees, persistent=False)
        sees = self.inputs.owner < degrees.unsqueeze(-1)
        shows = degrees <= self.layout.owner.unsqueeze(-1)
        self.register_buffer("sees", sees, persistent=False)
        self.register_buffer("shows", shows, persistent=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, variables) and (batch, context) -> (batch, parameters)."""
        parameters: Tensor = self.context(context)
        if not self.chained:
            return parameters
        features = self.inputs(x.to(self.first.weight.dtype))
        a = F.linear(features, self.first.weight * self.sees, self.first.bias)
        h = F.relu(a + self.mixing(context))
        return parameters + F.linear(h, self.last.weight * self.shows)


class ChainDraw:
    """Draws the variables of a chain one after another, in the time of one pass.

    Each brings in only what the one before it made known.

    Args:
        within: The network of the chain.
    """

    def __init__(self, within: Within) -> None:
        count = within.layout.dim
        self.within = within
        self.inputs = [within.inputs.alone(k) for k in range(count)]
        self.outputs = [within.layout.alone(k) for k in range(count)]
        if not within.chained:
            return
        columns = torch.cat([torch.arange(at.start, at.stop) for _, at in self.inputs])
        self.first = within.first.weight[:, columns.to(within.first.weight.device)]
        widths = [group.width for group, _ in self.inputs]
        self.features = [0, *itertools.accumulate(widths)]
        ranks = torch.arange(count, device=within.degrees.device)
        units = torch.searchsorted(within.degrees, ranks, right=True)
        self.units: list[int] = units.tolist()

    def begin(self, context: Tensor) -> None:
        """Forgets the chain before; the next one has this context (batch, width)."""
        self.parameters = self.within.context(context)
        if not self.within.chained:
            return
        before = self.within.mixing(context) + self.within.first.bias
        self.hidden = torch.empty_like(before)
        self.before = before
        self.seen = before.new_empty(len(before), self.features[-1])

    def conditional(self, k: int) -> tuple[Conditional, Tensor]:
        """The distribution of variable k of the chain, and its parameters (batch, n).

        All before it must have been learned.
        """
        group, at = self.outputs[k]
        assert isinstance(group, Conditional)
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
        """Takes note of the values (batch,) of variable k, NaN where absent."""
        if not self.within.chained:
            return
        group, _ = self.inputs[k]
        features = group(x.to(self.seen.dtype).unsqueeze(-1)).squeeze(1)
        at = slice(self.features[k], self.features[k + 1])
        self.seen[:, at] = features.masked_fill(x.isnan().unsqueeze(-1), 0)


class Steps(nn.Module):
    """Reads and predicts the places of one column of lists.

    All other variables (the length, other columns) come before the places and are a
    chain of their own; the network reads them with its first vector.

    Args:
        variables: Of the model.
        width: Length of the vectors that a network reads and gives.
        hidden: Units of the masked layer within a place.
        components: Components of each mixture.
        embedding: Width in which large vocabularies are embedded.

    Attributes:
        layout: Of the parameters of all variables.
        head: The variables before the places.
        places: The variables of each place.

    Raises:
        ValueError: There is not one column of lists, or its places are not alike.
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
        self.head, self.places = divide(variables)
        self.layout = Layout.of(variables, components, embedding, factorise=False)
        one = relative(variables, self.places[0])
        settings = {"components": components, "embedding": embedding}
        self.within = Within(one, width, hidden, **settings)
        self.token = nn.Linear(self.within.inputs.size, width)
        self.start = nn.Parameter(torch.randn(width) * SPREAD)
        self.before: Within | None = None
        if self.head:
            others = relative(variables, self.head)
            self.before = Within(others, width, hidden, **settings)
            self.head_token = nn.Linear(self.before.inputs.size, width)
        source = _source(self.layout, self.before, self.within, self.head, self.places)
        self.register_buffer("source", source, persistent=False)
        members = torch.tensor(self.places)
        self.register_buffer("members", members, persistent=False)

    def longest(self, x: Tensor) -> int:
        """Places of the longest list in a batch, and the one that may come next.

        Two at least, if there are so many: so every parameter takes part in every step,
        as training on several workers asks.
        """
        taken = (~x[:, self.members].isnan()).any(-1).any(0)
        last = taken.nonzero()
        longest = int(last[-1]) + 1 if len(last) else 0
        return min(max(longest + 1, 2), len(self.places))

    def read(self, x: Tensor, count: int) -> Tensor:
        """What a network reads: (batch, dim) -> (batch, count, width).

        Vector k tells what the place k - 1 holds; the first one what comes before.
        """
        first = self.first(x)
        if count == 1:
            return first.unsqueeze(1)
        own = x[:, self.members[: count - 1]]
        features = self.within.inputs(own.flatten(0, 1).to(first.dtype))
        vectors = self.token(features).unflatten(0, (len(x), count - 1))
        return torch.cat([first.unsqueeze(1), vectors.to(first.dtype)], 1)

    def first(self, x: Tensor) -> Tensor:
        """The first vector, (batch, width)."""
        vector = self.start.expand(len(x), -1)
        if self.before is None:
            return vector
        features = self.before.inputs(x[:, self.head].to(vector.dtype))
        told: Tensor = vector + self.head_token(features)
        return told

    def predict(self, h: Tensor, x: Tensor) -> Conditionals:
        """Conditionals of all variables from hidden vectors (batch, count, width)."""
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
        """The hidden vector after the last place of each row, and the mean of all.

        Args:
            x: Observations (batch, dim).
            network: Takes what `read` gives to hidden vectors of as many places.

        Returns:
            (batch, 2 * width).
        """
        present = (~x[:, self.members].isnan()).any(-1)
        length = present.sum(-1)
        count = int(length.max()) + 1
        h = network(self.read(x, count))
        # Vector k has read the places before k.
        last = h[torch.arange(len(x), device=x.device), length]
        read = torch.arange(count, device=x.device) <= length.unsqueeze(-1)
        mean = (h * read.unsqueeze(-1)).sum(1) / read.sum(-1, keepdim=True)
        return torch.cat([last, mean], -1)

    @torch.no_grad()
    def draw(
        self,
        variables: Sequence[Variable],
        noise: Tensor,
        given: Tensor | None,
        advance: Callable[[Tensor], Tensor],
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """Samples, one step of the network per place: (batch, dim).

        Args:
            variables: Of the model.
            noise: Uniform numbers (batch, dim, 2).
            given: Known values (batch, dim), NaN where free; None: nothing.
            advance: Takes vector k of `read`, (batch, width), to hidden vector k.
            tempering: Of every conditional.
        """
        x = noise.new_full((len(noise), len(variables)), torch.nan)

        def chain(own: ChainDraw, indices: Sequence[int], context: Tensor) -> None:
            own.begin(context)
            for k, i in enumerate(indices):
                group, parameters = own.conditional(k)
                uniform = noise[:, i].unsqueeze(1)
                free = group.sample(
                    precise(parameters).unsqueeze(1), uniform, tempering
                )
                known = None if given is None else given[:, i]
                x[:, i] = settle(variables[i], free.squeeze(1), known, x)
                own.learn(k, x[:, i])

        if self.before is not None:
            chain(ChainDraw(self.before), self.head, self.start.expand(len(x), -1))
        vector = self.first(x)
        within = ChainDraw(self.within)
        for indices in self.places:
            chain(within, indices, advance(vector))
            if bool(x[:, indices].isnan().all()):
                break
            features = self.within.inputs(x[:, indices].to(vector.dtype))
            vector = self.token(features)
        return x


def divide(variables: Sequence[Variable]) -> tuple[list[int], list[list[int]]]:
    """The variables before the places, and those of each place.

    Raises:
        ValueError: There is not one column of lists, or its places are not alike.
    """
    columns = {v.part_of for v in variables if v.place is not None}
    if len(columns) != 1:
        raise ValueError(
            "steps 'places' need exactly one column of lists, got "
            f"{len(columns)}; leave the others out, or take steps 'variables'"
        )
    head = [i for i, v in enumerate(variables) if v.place is None]
    # Other columns come before the length, as `head_first` has them.
    head.sort(key=lambda i: variables[i].part_of in columns)
    places: dict[int, list[int]] = {}
    for i, v in enumerate(variables):
        if v.place is not None:
            places.setdefault(v.place, []).append(i)
    chains = list(places.values())
    kinds = [[(variables[i].kind, variables[i].size) for i in c] for c in chains]
    if any(kind != kinds[0] for kind in kinds):
        raise ValueError("steps 'places' need places that are alike")
    return head, chains


def head_first(variables: Sequence[Variable]) -> list[int]:
    """The sequence of groups in which that of the places comes last."""
    last = {v.group for v in variables if v.place is not None}
    groups = list(dict.fromkeys(v.group for v in variables))
    return [g for g in groups if g not in last] + [g for g in groups if g in last]


def relative(
    variables: Sequence[Variable], indices: Sequence[int]
) -> tuple[Variable, ...]:
    """Some variables as a model of their own, parents among them kept."""
    rank = {i: k for k, i in enumerate(indices)}
    chosen = []
    for i in indices:
        parent = variables[i].parent
        inside = None if parent is None else rank.get(parent)
        chosen.append(replace(variables[i], parent=inside))
    return tuple(chosen)


def _source(
    layout: Layout,
    before: Within | None,
    within: Within,
    head: Sequence[int],
    places: Sequence[Sequence[int]],
) -> Tensor:
    """Where each parameter of all variables stands among those of head and places."""
    sequence = [*head, *(i for chain in places for i in chain)]
    rank = torch.empty(len(sequence), dtype=torch.long)
    rank[torch.tensor(sequence)] = torch.arange(len(sequence))
    target = rank[layout.owner].argsort(stable=True)
    parts, start = [], 0
    if before is not None:
        parts.append(before.layout.owner.argsort(stable=True))
        start = before.layout.size
    own = within.layout.owner.argsort(stable=True)
    for k in range(len(places)):
        parts.append(start + k * within.layout.size + own)
    source: Tensor = torch.cat(parts)[target.argsort()]
    return source
