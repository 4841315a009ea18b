"""Progressive sampling: rows drawn step by step on conditions.

Progressive sampling draws rows column by column. Where a condition is decided, the
share of the draws that satisfy it multiplies the estimate, and only those go on, drawn
anew. So the error depends on the share of each condition given those before it, not on
the probability of all together.

Reference:
    Yang et al., Deep unsupervised cardinality estimation, 2019.
    https://arxiv.org/abs/1905.04278
    Del Moral, Doucet, Jasra, Sequential Monte Carlo samplers, 2006.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.density.predicates import Predicate
from ar_models.density.table_density import TableDensity
from ar_models.scoring.completions import Completer, stratified
from ar_models.tables import arrow
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.given_cells import encode_given
from ar_models.tables.inequality import log_masses, log_tilts

GROUPS = 16
"""Minimum number of independent groups of draws, whose spread gives an interval."""


@dataclass(frozen=True)
class Clamp:
    """A condition that fixes the variables of a column."""

    column: int
    values: Tensor


@dataclass(frozen=True)
class Estimate:
    """Estimates of groups of draws: of the conditions, and of those with the tail."""

    conditions: NDArray[np.float64]
    both: NDArray[np.float64]
    effective: float


class ProgressiveSampler:
    """Draws rows of one density on conditions, in independent groups.

    Args:
        density: The density.
        draws: Approximate number of draws in each step.

    Raises:
        ValueError: The density of the family is only a bound.
    """

    def __init__(self, density: TableDensity, draws: int) -> None:
        self.completer = Completer(density.encoder, density.model)
        self.encoder, self.model = density.encoder, density.model
        turns = self.model.orderings
        self.groups = -(-GROUPS // turns) * turns
        self.per_group = max(2, draws // self.groups)
        self.places = {name: j for j, name in enumerate(self.encoder.names)}

    @cached_property
    def constants(self) -> dict[str, pa.Array]:
        """Cells of the constant columns, one of each."""
        left = [c for c in self.encoder.left_out if c.constant]
        return {c.name: c.repeat(1) for c in left}

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns that predicates may read."""
        modelled = [
            (name, value_type(self.encoder.type_of(j)))
            for name, j in self.places.items()
        ]
        constant = [(name, array.type) for name, array in self.constants.items()]
        return pa.schema([*modelled, *constant])

    def needed(self, columns: Collection[str]) -> list[int]:
        """Return the columns that some are computed from, and these, parents first."""
        needed = {self.places[name] for name in columns if name in self.places}
        for j in reversed(self.encoder.order):
            column = self.encoder.columns[j]
            if j in needed and isinstance(column, DerivedColumn):
                needed |= {self.places[name] for name in column.parents}
        return [j for j in self.encoder.order if j in needed]

    def holds(
        self, conditions: Sequence[Predicate], x: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Return in which rows of variables (n, dim) all conditions hold, (n,)."""
        holds = np.ones(len(x), bool)
        columns = {name for each in conditions for name in each.columns}
        cells: dict[str, pa.Array] = {}
        for j in self.needed(columns):
            rng = np.random.default_rng([0, j])
            own = x[:, self.encoder.span(j)]
            found = self.encoder.decode_cells(j, own, rng, cells)
            cells[self.encoder.names[j]] = arrow.flat(found)
        read = {n: _values(array) for n, array in cells.items()}
        for name in columns & set(self.constants):
            read[name] = self.constants[name].take(pa.array(np.zeros(len(x), np.int64)))
        for each in conditions:
            holds &= np.asarray(each.holds(read))
        return holds

    def tilts(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the ratio of the tilted density to the model's of rows, (n,).

        It is 1 without inequalities, see `ar_models.tables.inequality`.
        """
        encoder = self.encoder
        weighted = [each for each in encoder.inequalities if each.log_weight]
        if not weighted:
            return np.ones(len(x))
        rows = encoder.decode(x)
        tilts = log_tilts(weighted, rows, encoder.schema)
        return np.asarray(np.exp(tilts + log_masses(weighted, encoder.names).sum()))

    def clamp(self, condition: Predicate, *, dense: bool) -> Clamp | None:
        """Return the variables that a condition fixes, or None if it fixes none.

        Args:
            condition: The condition.
            dense: Whether it may fix a real number, which has a density only.
        """
        if condition.equals is None:
            return None
        (name,) = condition.columns
        j = self.places.get(name)
        if j is None or isinstance(self.encoder.columns[j], DerivedColumn):
            return None
        if not dense and self.encoder.columns[j].kind == "real":
            return None
        try:
            cell = pa.array([condition.equals.as_py()], self.encoder.type_of(j))
            x, _ = encode_given(self.encoder, pa.table({name: cell}))
        except (ValueError, pa.ArrowException, TypeError):
            return None  # such as a rare value, or 2.5 of integers
        return Clamp(j, torch.from_numpy(x[0]))

    def sample(
        self,
        conditions: Sequence[Predicate],
        tail: Sequence[Predicate],
        generator: torch.Generator,
        dense: int,
    ) -> Estimate:
        """Estimate the probability of conditions, and of these with those of the tail.

        Args:
            conditions: Conditions that the draws are conditioned on, step by step.
            tail: Conditions whose share among the final draws is estimated.
            generator: CPU generator.
            dense: Number of the first conditions, which may fix real numbers, and then
                count by their density.
        """
        found = []
        turns = self.model.orderings
        for which in range(turns):
            plan = _Plan.of(self, conditions, which, dense=dense)
            found.append(self._progress(plan, tail, which, generator))
        return Estimate(
            np.concatenate([each.conditions for each in found]),
            np.concatenate([each.both for each in found]),
            min(each.effective for each in found) * turns,
        )

    def _progress(
        self,
        plan: "_Plan",
        tail: Sequence[Predicate],
        which: int,
        generator: torch.Generator,
    ) -> Estimate:
        """Draw in one ordering, step by step."""
        groups, count = self.groups // self.model.orderings, self.per_group
        x = np.full((groups * count, self.encoder.dim), np.nan, np.float32)
        total, effective = np.ones(groups), math.inf
        for step in plan.steps:
            x[:, ~step.before] = np.nan
            for clamp in plan.clamps:
                span = self.encoder.span(clamp.column)
                x[:, span] = clamp.values[span].numpy()
            noise = stratified(groups, count, self.model.noise_dim, generator)
            x = self.completer.ancestral(noise, x, which)
            weights = self.holds(step.conditions, x).astype(np.float64)
            if step is plan.steps[-1]:
                weights *= self.tilts(x)
            if step.clamped.any():
                log_prob = self.completer.log_prob(x, which)[:, step.clamped].sum(1)
                weights *= np.exp(log_prob)
            each = weights.reshape(groups, count)
            total = total * each.mean(1)
            squares = np.square(each).sum(1)
            shares = np.square(each.sum(1)) / np.where(squares > 0, squares, 1)
            effective = min(effective, float(shares.sum()))
            if step is not plan.steps[-1]:
                x = x[_resampled(each, generator)]
        holds = self.holds(tail, x).reshape(groups, count)
        sums = each.sum(1)
        hits = np.divide(
            (each * holds).sum(1), sums, out=np.zeros(groups), where=sums > 0
        )
        return Estimate(total, total * hits, effective)


@dataclass(frozen=True)
class _Step:
    """Conditions that are decided by the same column of an ordering.

    Attributes:
        before: Variables that are kept from the step before, (dim,).
        clamped: Fixed variables whose probabilities are weights, (dim,).
        conditions: Conditions that the draws must satisfy.
    """

    before: NDArray[np.bool_]
    clamped: NDArray[np.bool_]
    conditions: Sequence[Predicate]


@dataclass(frozen=True)
class _Plan:
    """Steps in which conditions are decided along one ordering."""

    steps: Sequence[_Step]
    clamps: Sequence[Clamp]

    @classmethod
    def of(
        cls,
        sampler: "ProgressiveSampler",
        conditions: Sequence[Predicate],
        which: int,
        *,
        dense: int,
    ) -> "_Plan":
        """Return the steps of conditions along an ordering.

        Args:
            sampler: What draws the rows.
            conditions: The conditions.
            which: Number of the ordering.
            dense: Number of the first conditions, which may fix real numbers.
        """
        model, encoder = sampler.model, sampler.encoder
        order = model.ordering_list(which)
        rank = {}
        for k, i in enumerate(order):
            rank[model.variables[i].column_index] = k
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        clamps: dict[int, Clamp] = {}
        filters: dict[int, list[Predicate]] = {}
        ends: set[int] = set()
        for k, condition in enumerate(conditions):
            clamp = sampler.clamp(condition, dense=k < dense)
            needed = sampler.needed(condition.columns)
            end = max((rank[j] for j in needed), default=-1)
            if clamp is not None and clamp.column not in clamps:
                clamps[clamp.column] = clamp
            else:
                filters.setdefault(end, []).append(condition)
            ends.add(end)
        steps, last = [], -1
        fixed = np.zeros(encoder.dim, bool)
        for j in clamps:
            fixed[encoder.span(j)] = True
        for end in sorted(ends) or [len(order) - 1]:
            decided = (place > last) & (place <= end)
            steps.append(_Step(place <= last, fixed & decided, filters.get(end, [])))
            last = end
        return cls(steps, list(clamps.values()))


def _resampled(
    weights: NDArray[np.float64], generator: torch.Generator
) -> NDArray[np.int64]:
    """Return places of draws chosen by weight in each group, systematically.

    Args:
        weights: Weights, (groups, draws); a group without weight keeps its draws.
        generator: CPU generator.
    """
    groups, count = weights.shape
    start = torch.rand(groups, 1, generator=generator).numpy()
    levels = (np.arange(count) + start) / count
    sums = weights.sum(1, keepdims=True)
    even = np.full_like(weights, 1 / count)
    shares = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), even)
    reached = shares.cumsum(1)
    places = [
        np.searchsorted(own, at * own[-1], side="right").clip(max=count - 1) + k * count
        for k, (own, at) in enumerate(zip(reached, levels, strict=True))
    ]
    return np.concatenate(places)


def value_type(type: pa.DataType) -> pa.DataType:
    """Return the type in which cells are compared with values."""
    type = arrow.plain(type)
    while pa.types.is_dictionary(type):
        type = type.value_type
    return pa.string() if arrow.family(type) == "text" else type


def _values(array: pa.Array) -> pa.Array:
    """Return cells without a dictionary, text as strings."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(value_type(array.type))
