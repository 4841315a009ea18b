"""Masked autoencoder for distribution estimation."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.autoregressive import (
    AutoregressiveModel,
    Ordering,
    columns_given,
    settle,
)
from ar_models.binary_draw import draw_block
from ar_models.conditionals import (
    EXACT,
    Conditional,
    Conditionals,
    Layout,
    Tempering,
)
from ar_models.dropout import Dropout
from ar_models.inputs import Inputs
from ar_models.kept import Kept
from ar_models.masked_linear import MaskedLinear, ascending
from ar_models.variables import Variable

BLOCK_UNITS = (128, 32)
"""About so many hidden units become known in a block of variables when sampling, and in
the smaller blocks within it, each at least `BLOCK_VARIABLES` long."""

BLOCK_VARIABLES = 4

COMPILED = 2**15
"""Binary values from which drawing them by a compiled loop is worth its start."""

TOGETHER = 2048
"""Rows that the compiled loop draws at a time: their arrays stay in caches."""


class MADE(AutoregressiveModel):
    """A network masked so that each output sees only earlier variables.

    Hidden unit k has a degree, and sees the variables that come before it in the
    ordering by number. Degrees ascend with k, unless there are several `masks`: those
    after the first permute them. Each pair of ordering and mask counts as an ordering.
    With `residual`, each layer is a block of two masked maps around which the hidden
    vector passes unchanged.

    Reference:
        Germain, Gregor, Murray, Larochelle, MADE, 2015.
        https://arxiv.org/abs/1502.03509 (with degrees of its own in each layer).
        Nash, Durkan, Autoregressive energy machines, 2019.
        https://arxiv.org/abs/1904.05626 (residual blocks).

    Args:
        variables: What each column of `x` is.
        hidden: Units per hidden layer.
        layers: Hidden layers, or residual blocks after the first hidden layer.
        residual: Whether there are residual blocks.
        direct: Whether there is also a linear map from the inputs to the outputs.
        orderings: Orderings that are averaged.
        ordering: "natural", "random", or the sequence of groups of every ordering.
        masks: Connectivity masks that are averaged of each ordering.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        dropout: Share of hidden units left out in train mode.
        seed: Of random orderings and masks.

    Example:
        >>> from ar_models.variables import binary
        >>> model = MADE(binary(3), hidden=16)
        >>> model.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    degrees: Tensor  # (masks, hidden), of the first mask ascending

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        hidden: int = 512,
        layers: int = 2,
        residual: bool = True,
        direct: bool = False,
        orderings: int = 1,
        ordering: Ordering = "natural",
        masks: int = 1,
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
        if masks < 1:
            raise ValueError(f"masks must be at least 1, got {masks}")
        self.orderings = orderings * masks
        self.ordering_table = self.ordering_table.repeat(masks, 1)
        self.settings: dict[str, Any] = {
            "hidden": hidden,
            "layers": layers,
            "residual": residual,
            "direct": direct,
            "orderings": orderings,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "masks": masks,
            "components": components,
            "embedding": embedding,
            "dropout": dropout,
            "seed": seed,
        }
        self.residual = residual
        self.dropout = Dropout(dropout)
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
        self.direct: MaskedLinear | None = None
        if direct:
            self.direct = MaskedLinear(self.inputs.size, self.layout.size)
            nn.init.normal_(self.direct.weight, std=1e-3)
            nn.init.zeros_(self.direct.bias)
        first = 1 + torch.arange(hidden) * max(self.dim - 1, 1) // hidden
        generator = torch.Generator().manual_seed(seed)
        others = [
            first[torch.randperm(hidden, generator=generator)] for _ in range(masks - 1)
        ]
        degrees = torch.stack([first, *others])
        self.register_buffer("degrees", degrees, persistent=False)
        self.arrangements: Kept[_Arrangement] = Kept()

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        features = self.inputs(x.to(self.first.weight.dtype))
        ranks = self.ordering(which).argsort()
        of_inputs, of_outputs = ranks[self.inputs.owner] + 1, ranks[self.layout.owner]
        h = F.relu(self._layers(features, of_inputs, which)[-1])
        parameters = self.last(h, self.degrees_of(which), of_outputs, which)
        if self.direct is not None:
            linear = self.direct(features, of_inputs, of_outputs, which)
            parameters = parameters + linear
        return Conditionals(self.layout, parameters)

    def mask_of(self, which: int) -> int:
        """The number of the mask that belongs to an ordering."""
        return which * len(self.degrees) // self.orderings

    def degrees_of(self, which: int) -> Tensor:
        """The degrees of the hidden units in an ordering, (hidden,)."""
        return self.degrees[self.mask_of(which)]

    def hidden(self, x: Tensor, which: int = 0) -> Tensor:
        """The last hidden layer: (batch, dim) -> (batch, hidden)."""
        ranks = self.ordering(which).argsort()
        of_inputs = ranks[self.inputs.owner] + 1
        features = self.inputs(x.to(self.first.weight.dtype))
        return F.relu(self._layers(features, of_inputs, which)[-1])

    def _layers(self, features: Tensor, of_inputs: Tensor, which: int) -> list[Tensor]:
        """All hidden layers, before the nonlinearity, or after each residual block.

        Args:
            features: Of the inputs, (batch, inputs.size).
            of_inputs: Their degrees.
            which: The ordering.
        """
        degrees, mask = self.degrees_of(which), self.mask_of(which)
        h: Tensor = self.first(features, of_inputs, degrees, which)
        layers = [h]
        if self.residual:
            for one, other in zip(self.inner[::2], self.inner[1::2], strict=True):
                within = F.relu(one(F.relu(h), degrees, degrees, mask))
                h = h + other(self.dropout(within), degrees, degrees, mask)
                layers.append(h)
            return layers
        for linear in self.inner:
            h = linear(self.dropout(F.relu(h)), degrees, degrees, mask)
            layers.append(h)
        return [*layers[:-1], self.dropout(h)]

    def features(self, x: Tensor) -> Tensor:
        """The first hidden layer, and all after it side by side: (batch, n)."""
        of_inputs = self.ordering().argsort()[self.inputs.owner] + 1
        features = self.inputs(x.to(self.first.weight.dtype))
        return torch.cat([F.relu(h) for h in self._layers(features, of_inputs, 0)], -1)

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        return self.draw_beside(noise, columns_given(given, self.dim), which, tempering)

    @torch.no_grad()
    def draw_beside(
        self,
        noise: Tensor,
        known: Sequence[Tensor | None],
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """`draw`, given values (batch,) of some variables, None for the others."""
        # A pass's arithmetic in all: each variable computes only what it made known,
        # and each block brings in what was known before by one product per layer.
        products = type_of_products(self.first.weight)
        with torch.autocast(noise.device.type, enabled=False):
            return self._draw_in(products, noise, known, which, tempering)

    def _draw_in(
        self,
        products: torch.dtype,
        noise: Tensor,
        known: Sequence[Tensor | None],
        which: int,
        tempering: Tempering,
    ) -> Tensor:
        """`draw_beside`, the products before each block in this type."""
        if self._compiled(noise, tempering):
            return self._draw_compiled(products, noise, known, which, tempering)
        state = _Draw(self, which, len(noise), products)
        uniform = noise.permute(1, 2, 0).contiguous()
        x = noise.new_full((self.dim, len(noise)), torch.nan)
        for rank, i in enumerate(self.sequence(which)):
            state.enter(rank)
            group, _ = self.layout.alone(i)
            assert isinstance(group, Conditional)
            parameters = state.advance(rank).T.unsqueeze(1)
            free = group.sample(
                parameters, uniform[i].T.unsqueeze(1), tempering
            ).squeeze(1)
            x[i] = settle(self.variables[i], free, known[i], x.T)
            state.learn(rank, x[i])
        return x.T.contiguous()

    def _compiled(self, noise: Tensor, tempering: Tempering) -> bool:
        """Whether a draw is worth the compiled loop, and one that it can do."""
        return (
            noise.shape[0] * self.dim >= COMPILED
            and noise.device.type == "cpu"
            and noise.dtype == self.first.weight.dtype == torch.float32
            and tempering.top_p == 1
            and all(v.kind == "binary" and v.parent is None for v in self.variables)
        )

    def _draw_compiled(
        self,
        products: torch.dtype,
        noise: Tensor,
        known: Sequence[Tensor | None],
        which: int,
        tempering: Tempering,
    ) -> Tensor:
        x = noise.new_empty(noise.shape[:2])
        for begin in range(0, len(noise), TOGETHER):
            rows = slice(begin, begin + TOGETHER)
            own = [None if values is None else values[rows] for values in known]
            state = _Draw(self, which, len(noise[rows]), products)
            x[rows] = state.draw_binary(noise[rows], own, tempering)
        return x

    def config(self) -> dict[str, Any]:
        return dict(self.settings)


class _Known(NamedTuple):
    """What variables before number `start` contribute to those from there on.

    Attributes:
        start: The number.
        layers: Of each hidden layer before the nonlinearity, (layers, units, batch),
            biases included.
        output: Of the parameters, (parameters, batch).
    """

    start: int
    layers: Tensor
    output: Tensor


class _Arrangement(NamedTuple):
    """Where things stand in the arrays of a draw.

    Attributes:
        units: So many hidden units depend on the first r variables at most.
        features: So many features are of the first r variables.
        parameters: So many parameters likewise.
        sequence: The hidden units as they become known, or None if they stand so.
        columns: The features in the order of their variables.
        rows: The parameters likewise.
    """

    units: list[int]
    features: list[int]
    parameters: list[int]
    sequence: Tensor | None
    columns: Tensor
    rows: Tensor


class _Weights(NamedTuple):
    """Those of a draw's maps, units and variables in its order.

    Attributes:
        first: (units, features).
        inner: Of each layer after the first one, (units, units).
        last: (parameters, units).
        direct: (parameters, features), or None where there is no such map.
    """

    first: Tensor
    inner: list[Tensor]
    last: Tensor
    direct: Tensor | None

    def to(self, dtype: torch.dtype) -> "_Weights":
        return _Weights(
            self.first.to(dtype),
            [weight.to(dtype) for weight in self.inner],
            self.last.to(dtype),
            None if self.direct is None else self.direct.to(dtype),
        )


class _Draw:
    """The arrays of one draw, all (units, batch).

    Hidden units stand in the order in which they become known: `units[r]` of each
    layer depend on the first r variables at most. So the units of a variable are a
    slice, and no mask is needed.

    Args:
        model: The model.
        which: The ordering.
        batch: Number of rows.
        products: The type of the products with what was known before a block.
    """

    def __init__(
        self, model: MADE, which: int, batch: int, products: torch.dtype
    ) -> None:
        self.model = model
        self.order = model.sequence(which)
        arrangement = model.arrangements.get(
            which, model.ordering_table, lambda: self._arrangement(which)
        )
        self.units, self.features, self.parameters = arrangement[:3]
        sequence, columns, rows = arrangement[3:]
        self.first = arranged(model.first.weight[:, columns], sequence, None)
        self.last = arranged(model.last.weight[rows], None, sequence)
        inner = [linear.get_parameter("weight") for linear in model.inner]
        self.inner = [arranged(weight, sequence, sequence) for weight in inner]
        self.bias = model.last.bias[rows]
        self.direct: Tensor | None = None
        if model.direct is not None:
            self.direct = model.direct.weight[rows][:, columns]
            self.bias = self.bias + model.direct.bias[rows]
        self.seen_until = 0
        self.seen = self.first.new_empty(len(columns), batch)
        layers = [model.first, *model.inner]
        self.active = self.first.new_empty(len(layers), len(self.first), batch)
        biases = [
            arranged(layer.get_parameter("bias").unsqueeze(-1), sequence, None)
            for layer in layers
        ]
        self.known = [_Known(0, torch.stack(biases), self.bias.unsqueeze(-1))]
        self.weights = _Weights(self.first, self.inner, self.last, self.direct)
        if products != self.first.dtype:
            self.weights = self.weights.to(products)
        per_unit = model.dim / len(self.first)
        sizes = [round(units * per_unit) for units in BLOCK_UNITS]
        self.blocks = [max(1, sizes[0])] + [n for n in sizes[1:] if n > BLOCK_VARIABLES]

    def _arrangement(self, which: int) -> "_Arrangement":
        degrees = self.model.degrees_of(which)
        ranks = torch.arange(self.model.dim + 1, device=degrees.device)
        features, parameters = (
            [grouping.place_of(i) for i in self.order]
            for grouping in (self.model.inputs, self.model.layout)
        )
        return _Arrangement(
            torch.searchsorted(degrees.sort().values, ranks).tolist(),
            _edges(features),
            _edges(parameters),
            ascending(degrees),
            _numbers(features).to(degrees.device),
            _numbers(parameters).to(degrees.device),
        )

    def enter(self, rank: int) -> None:
        """Brings in what is known before each block that starts at `rank`."""
        outer = self.blocks[0]
        end = min(rank - rank % outer + outer, len(self.order))
        for level, block in enumerate(self.blocks):
            if rank % outer % block == 0:
                stop = min(rank + block, end)
                self.known[level + 1 :] = [
                    self._bring_in(self.known[level], rank, stop)
                ]

    def _bring_in(self, above: "_Known", start: int, stop: int) -> "_Known":
        """What is known before the variables start … stop - 1, of a block."""
        units = slice(self.units[start], self.units[stop])
        below = slice(self.units[above.start], units.start)
        here = slice(below.stop - below.start, units.stop - below.start)
        seen = slice(self.features[above.start], self.features[start])
        layers = self.active.new_empty(
            len(self.active), units.stop - units.start, self.active.shape[2]
        )
        weights = self.weights
        known = above.layers[0, here]
        plus(known, weights.first[units, seen], self.seen[seen], out=layers[0])
        for k, weight in enumerate(weights.inner):
            known, values = above.layers[k + 1, here], self.active[k, below]
            plus(known, weight[units, below], values, out=layers[k + 1])
        first = self.parameters[above.start]
        outputs = slice(self.parameters[start], self.parameters[stop])
        known = above.output[outputs.start - first : outputs.stop - first]
        output = plus(known, weights.last[outputs, below], self.active[-1, below])
        if weights.direct is not None:
            plus(output, weights.direct[outputs, seen], self.seen[seen], out=output)
        return _Known(start, layers, output)

    def advance(self, rank: int) -> Tensor:
        """The parameters (width, batch) of the variable that comes as number `rank`."""
        known = self.known[-1]
        inside = slice(self.units[known.start], self.units[rank + 1])
        units = slice(self.units[rank], inside.stop)
        if units.start < units.stop:
            self._advance_units(known, units)
        at = slice(self.parameters[rank], self.parameters[rank + 1])
        first = self.parameters[known.start]
        output = known.output[at.start - first : at.stop - first]
        found = torch.addmm(output, self.last[at, inside], self.active[-1, inside])
        if self.direct is not None:
            new = slice(self.features[known.start], self.seen_until)
            found.addmm_(self.direct[at, new], self.seen[new])
        return found

    def _advance_units(self, known: "_Known", units: slice) -> None:
        below = self.units[known.start]
        here = slice(units.start - below, units.stop - below)
        new = slice(self.features[known.start], self.seen_until)
        h = torch.addmm(known.layers[0, here], self.first[units, new], self.seen[new])
        torch.clamp(h, min=0, out=self.active[0, units])
        inside = slice(below, units.stop)
        for k, weight in enumerate(self.inner):
            before = known.layers[k + 1, here]
            out = torch.addmm(before, weight[units, inside], self.active[k, inside])
            if self.model.residual and k % 2 == 1:
                out = h = h + out
            torch.clamp(out, min=0, out=self.active[k + 1, units])

    def learn(self, rank: int, x: Tensor) -> None:
        """Takes note of the values (batch,) of the variable number `rank`."""
        group, _ = self.model.inputs.alone(self.order[rank])
        self.seen_until = self.features[rank + 1]
        features = group(x.unsqueeze(-1)).squeeze(1)
        if self.model.variables[self.order[rank]].parent is not None:
            features = features.masked_fill(x.isnan()[:, None], 0)
        self.seen[self.features[rank] : self.seen_until] = features.T

    def draw_binary(
        self, noise: Tensor, known: Sequence[Tensor | None], tempering: Tempering
    ) -> Tensor:
        """All variables, which are binary, a block of them by one call: (batch, dim).

        Arguments are those of `MADE.draw_beside`.
        """
        # Where t logit(u) < z is u < sigmoid(z / t).
        thresholds = noise[..., 0].T[self.order]
        torch.logit(thresholds, out=thresholds).mul_(tempering.temperature)
        for rank, i in enumerate(self.order):
            values = known[i]
            if values is not None:
                value = torch.where(values > 0.5, -torch.inf, torch.inf)
                thresholds[rank] = torch.where(values.isnan(), thresholds[rank], value)
        inner, direct = torch.empty(0, *self.active.shape[1:2] * 2), torch.empty(0, 0)
        if self.inner:
            inner = torch.stack(self.inner)
        for start, stop in pairwise([*self._starts(), len(self.order)]):
            self.enter(start)
            own, units = slice(start, stop), slice(self.units[start], self.units[stop])
            if self.direct is not None:
                direct = self.direct[own, own]
            draw_block(
                contiguous(self.first[units, own]),
                contiguous(inner[:, units, units]),
                contiguous(self.last[own, units]),
                contiguous(direct),
                self.model.residual,
                np.array(self.units[start : stop + 1]) - units.start,
                self.known[-1].layers.numpy(),
                self.known[-1].output.numpy(),
                thresholds[own].numpy(),
                self.active.numpy(),
                units.start,
                self.seen[own].numpy(),
            )
        x = torch.empty_like(self.seen.T, memory_format=torch.contiguous_format)
        x[:, self.order] = self.seen.T
        return x

    def _starts(self) -> list[int]:
        """Where `enter` has something to bring in."""
        outer = self.blocks[0]
        inside = range(0, outer, self.blocks[-1])
        blocks = range(0, len(self.order), outer)
        return [s + i for s in blocks for i in inside if s + i < len(self.order)]


def contiguous(weight: Tensor) -> NDArray[np.float32]:
    """A part of a weight, of which a compiled loop wants no strides."""
    return np.asarray(weight.contiguous().numpy())


def type_of_products(weight: Tensor) -> torch.dtype:
    """That of an autocast around, if it would convert such a weight, else its own."""
    device = weight.device.type
    if weight.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype


def plus(
    before: Tensor, weight: Tensor, values: Tensor, out: Tensor | None = None
) -> Tensor:
    """`before` plus a product, which is in the type of the weight."""
    if weight.dtype == before.dtype:
        return torch.addmm(before, weight, values, out=out)
    return torch.add(before, weight @ values.to(weight.dtype), out=out)


def arranged(weight: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """A matrix with its rows and columns in an order; None: as they are."""
    if rows is not None:
        weight = weight[rows]
    return weight if columns is None else weight[:, columns]


def _edges(places: Sequence[slice]) -> list[int]:
    """Where each of some ranges starts if they are put together, and the last ends."""
    return [0, *accumulate(at.stop - at.start for at in places)]


def _numbers(places: Sequence[slice]) -> Tensor:
    """All numbers of some ranges, one after the other."""
    return torch.cat([torch.arange(at.start, at.stop) for at in places])
