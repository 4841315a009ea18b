"""Weighted completions of partly known rows, for models that take columns in order.

Such a model draws unknown cells given the cells before them. What later cells say is
counted by weights: each row is completed several times with its known cells in place,
and a completion weighs as much as the model gives these cells. Choosing among them by
weight is sampling from the conditional distribution, as their number grows. Where the
unknown cells have few combinations, all of them are weighed, and nothing is random.

Reference:
    Rubin, Using the SIR algorithm to simulate posterior distributions, 1988.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.families.base import AutoregressiveModel, ancestral_sample
from ar_models.families.ensemble import Ensemble
from ar_models.families.orderings import known_and_free
from ar_models.scoring.combinations import combinations
from ar_models.tables import arrow
from ar_models.tables.columns import IN_SUPPORT
from ar_models.tables.derivations import overlay
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.inequality import log_tilts
from ar_models.tables.ranges import rows_outside, within_range
from ar_models.tables.trained_cells import as_trained

ROUNDS = (64, 256, 1024)
"""Numbers of completions of a row, of which the next is tried where the one before has
fewer than `ENOUGH` effective ones."""

ENOUGH = 8.0
"""Minimum effective number of completions among which one is chosen."""

CANDIDATES = 1 << 14
"""Maximum number of completions, of one or several rows, that are weighed together."""

PASS_ROWS = 4096
"""Rows per pass through the network."""


@dataclass(frozen=True)
class KnownCells:
    """The known cells of n rows, encoded as far as they determine their variables.

    Attributes:
        table: The rows; nulls are unknown. Columns may lack.
        x: Known variables (n, dim), NaN where unknown.
        late: Known cells whose encoding depends on unknown ones, (n, columns) bool.
        filled: Unknown cells that must get a value, (n, columns) bool.
    """

    table: pa.Table
    x: NDArray[np.float32]
    late: NDArray[np.bool_]
    filled: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "KnownCells":
        """Return some of the rows."""
        table = self.table.take(pa.array(rows))
        return KnownCells(table, self.x[rows], self.late[rows], self.filled[rows])


@dataclass(frozen=True)
class Completions:
    """Weighted completions of some rows.

    Attributes:
        rows: Numbers of the rows, (n,).
        table: Completions, those of a row one after the other, (n * k) rows. Known
            cells are decoded, apart from those that others are derived from.
        x: Variables of the completions, (n * k, dim).
        weights: Their weights, (n, k); those of a row add up to 1, or are all 0 if no
            completion is possible.
        exact: Whether they are all possible completions; else, draws.
    """

    rows: NDArray[np.int64]
    table: pa.Table
    x: NDArray[np.float32]
    weights: NDArray[np.float64]
    exact: bool

    @property
    def effective(self) -> NDArray[np.float64]:
        """Effective number of draws of each row, (n,); infinite if exact, 0 if none."""
        squares = np.square(self.weights).sum(1)
        number = np.divide(1, squares, out=np.zeros(len(squares)), where=squares > 0)
        return np.where((squares > 0) & self.exact, np.inf, number)

    def take(self, places: NDArray[np.int64]) -> "Completions":
        """Return the completions of some of the rows, by their places, (m,)."""
        count = self.weights.shape[1]
        at = (places[:, None] * count + np.arange(count)).ravel()
        table = self.table.take(pa.array(at))
        return replace(
            self,
            rows=self.rows[places],
            table=table,
            x=self.x[at],
            weights=self.weights[places],
        )

    def choose(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose a completion of each row by weight, by its place in the table, (n,).

        Args:
            uniform: Uniform numbers, (n,).
        """
        reached = self.weights.cumsum(1)
        chosen = (reached <= uniform[:, None] * reached[:, -1:]).sum(1)
        count = self.weights.shape[1]
        places = np.arange(len(self.rows)) * count + np.minimum(chosen, count - 1)
        return np.asarray(places, np.int64)


@dataclass
class Effectiveness:
    """Numbers of rows that were completed by weights.

    Attributes:
        weighted: Rows completed by weighted draws.
        few: Those with fewer than `ENOUGH` effective draws.
    """

    weighted: int = 0
    few: int = 0

    def add(self, completions: Completions) -> None:
        """Count the rows of completions that are not exact."""
        if not completions.exact:
            self.weighted += len(completions.rows)
            self.few += int((completions.effective < ENOUGH).sum())


class Completer:
    """Completes partly known rows by weights, with one model.

    Args:
        encoder: Encoder of the rows.
        model: Model of their variables, whose conditionals add up to `log_prob`.
    """

    def __init__(self, encoder: TableEncoder, model: AutoregressiveModel) -> None:
        if model.is_bound:
            raise ValueError(
                f"a {type(model).__name__} has only a bound of probabilities, by which "
                "completions cannot be weighed; train with another model.family"
            )
        self.encoder, self.model = encoder, model
        self.columns = np.array([v.column_index for v in model.variables])
        member = model.member(0)[0] if isinstance(model, Ensemble) else model
        self.draws_given_first = member.order_agnostic

    @torch.inference_mode()
    def complete(
        self, known: KnownCells, generator: torch.Generator, seed: int = 0
    ) -> Iterator[Completions]:
        """Yield the weighted completions of rows, each row once.

        Args:
            known: The known cells.
            generator: CPU generator of the draws.
            seed: Chooses among the rare categories that share a code.
        """
        x = torch.from_numpy(known.x)
        free = known_and_free(self.model.variables, x)[1].numpy()
        free &= ~known.late[:, self.columns]
        patterns, which = np.unique(free, axis=0, return_inverse=True)
        drawn = []
        for k, pattern in enumerate(patterns):
            rows = np.flatnonzero(which.ravel() == k)
            codes = combinations(self.model.variables, np.flatnonzero(pattern))
            if codes is None:
                drawn.append(rows)
                continue
            for part in _parts(rows, len(codes)):
                yield self._enumerate(known, part, pattern, codes, seed)
        rest = np.sort(np.concatenate([*drawn, np.zeros(0, np.int64)]))
        for count in ROUNDS:
            again = []
            for part in _parts(rest, count):
                found = self._draw(known, part, count, generator, seed)
                enough = found.effective >= ENOUGH
                if count < ROUNDS[-1] and not enough.all():
                    again.append(part[~enough])
                    if not enough.any():
                        continue
                    found = found.take(np.flatnonzero(enough))
                yield found
            rest = np.concatenate([*again, np.zeros(0, np.int64)])

    def _enumerate(
        self,
        known: KnownCells,
        rows: NDArray[np.int64],
        pattern: NDArray[np.bool_],
        values: NDArray[np.float32],
        seed: int,
    ) -> Completions:
        """Weigh all combinations (k, free variables) of the unknown cells of rows."""
        part = _repeat(known.take(rows), len(values))
        x = part.x.copy()
        x[:, pattern] = np.tile(values, (len(rows), 1))
        x, table, log_slope, possible = self._decode(part, x, len(values), seed)
        each = [self.log_prob(x, which).sum(1) for which in range(self.model.orderings)]
        log_weights = np.logaddexp.reduce(np.stack(each), axis=0) + log_slope
        log_weights[~possible] = -np.inf
        return _weighted(rows, table, x, log_weights, exact=True)

    def _draw(
        self,
        known: KnownCells,
        rows: NDArray[np.int64],
        count: int,
        generator: torch.Generator,
        seed: int,
    ) -> Completions:
        """Draw `count` completions of each row, in all orderings by turns."""
        part = _repeat(known.take(rows), count)
        noise = stratified(len(rows), count, self.model.noise_dim, generator)
        x = np.empty_like(part.x)
        is_known = ~np.isnan(part.x)
        is_free = ~is_known & ~part.late[:, self.columns]
        log_weights, log_free = np.empty(len(x)), np.empty(len(x))
        orderings = np.arange(len(x)) % count % self.model.orderings
        turns = [
            (which, np.flatnonzero(orderings == which))
            for which in range(self.model.orderings)
        ]
        for which, own in turns:
            x[own] = self.ancestral(noise[own], part.x[own], which)
            log_prob = self.log_prob(x[own], which)
            log_weights[own] = (log_prob * is_known[own]).sum(1)
            log_free[own] = (log_prob * is_free[own]).sum(1)
        x, table, log_slope, possible = self._decode(part, x, count, seed)
        if part.late.any():  # later variables were drawn given what is replaced now
            for which, own in turns:
                log_prob = self.log_prob(x[own], which)
                log_weights[own] = log_prob.sum(1) - log_free[own]
        log_weights += log_slope
        log_weights[~possible] = -np.inf
        return _weighted(rows, table, x, log_weights, exact=False)

    def ancestral(
        self, noise: Tensor, given: NDArray[np.float32], which: int
    ) -> NDArray[np.float32]:
        """Draw the unknown variables of rows given those before them, (n, dim)."""
        table = self.model.ordering_table
        dtype = next(self.model.parameters()).dtype
        parts = []
        for start in range(0, len(given), PASS_ROWS):
            rows = slice(start, start + PASS_ROWS)
            clamped = torch.from_numpy(given[rows]).to(table.device, dtype)
            own = noise[rows].to(table.device, dtype)
            if self.draws_given_first:
                drawn = ancestral_sample(self.model, own, clamped, which)
            else:
                drawn = self.model.draw(own, clamped, which)
            parts.append(drawn.float().cpu().numpy())
        return np.concatenate(parts)

    def log_prob(self, x: NDArray[np.float32], which: int) -> NDArray[np.float64]:
        """Return the log-probability of each variable in an ordering, (n, dim)."""
        device = self.model.ordering_table.device
        parts = []
        for start in range(0, len(x), PASS_ROWS):
            rows = torch.from_numpy(x[start : start + PASS_ROWS]).to(device)
            found = self.model.conditionals(rows, which).log_prob(rows)
            parts.append(found.double().cpu().numpy())
        return np.concatenate(parts)

    def _decode(
        self, known: KnownCells, x: NDArray[np.float32], count: int, seed: int
    ) -> tuple[NDArray[np.float32], pa.Table, NDArray[np.float64], NDArray[np.bool_]]:
        """Decode completions, and encode the late cells given all others.

        Args:
            known: Known cells, repeated for each completion.
            x: Variables of the completions, (n, dim).
            count: Completions per row.
            seed: Chooses among the rare categories that share a code.

        Returns:
            The variables; the decoded rows; the log-determinants of the late cells and
            the log-weights of violated inequalities together in nats, (n,); and which
            completions are possible, (n,).
        """
        encoder, given = self.encoder, known.table
        table = encoder.decode(x, seed=seed, given=given)
        outside = rows_outside(encoder, table, given)
        inside = (~outside).reshape(-1, count).any(1).repeat(count)
        if not inside.all():
            table = encoder.decode(x, seed=seed, given=given, adjust=within_range)
        possible = ~(outside & inside)
        log_slope = np.zeros(len(x))
        x = x.copy()
        for j in filter(lambda j: known.late[:, j].any(), encoder.order):
            late, name = known.late[:, j], encoder.names[j]
            own, _ = as_trained(given.column(name), encoder.type_of(j))
            cells = overlay(own, table.column(name))
            place = table.schema.get_field_index(name)
            cells = arrow.as_type(cells, encoder.type_of(j))
            table = table.set_column(place, pa.field(name, cells.type), cells)
            coded = encoder.encode_column(j, table)
            x[late, encoder.span(j)] = coded.x[late]
            possible &= ~late | (coded.out_of_support == IN_SUPPORT)
            if coded.log_slope is not None:
                log_slope += np.where(late, coded.log_slope, 0.0)
        possible &= ~encoder.undefined(x, table)
        log_slope += log_tilts(encoder.inequalities, table, encoder.schema)
        for j in np.flatnonzero(known.filled.any(0)).tolist():
            null = np.asarray(table.column(encoder.names[j]).is_null())
            possible &= ~(known.filled[:, j] & null)
        return x, table, log_slope, possible


def stratified(rows: int, count: int, dim: int, generator: torch.Generator) -> Tensor:
    """Return uniform noise of which the draws of a row have one number per stratum.

    Each number is uniform, so draws follow the same distribution; together they cover
    it more evenly than independent ones.

    Args:
        rows: Number of rows.
        count: Number of draws of each row.
        dim: Pairs of numbers per draw.
        generator: CPU generator.

    Returns:
        Noise, (rows * count, dim, 2).
    """
    order = torch.rand(rows, dim, 2, count, generator=generator).argsort(-1)
    within = torch.rand(rows, dim, 2, count, generator=generator)
    noise = ((order + within) / count).clamp(max=1 - 2**-24)
    return noise.permute(0, 3, 1, 2).reshape(rows * count, dim, 2)


def _parts(rows: NDArray[np.int64], count: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows in parts that have at most `CANDIDATES` completions."""
    size = max(1, CANDIDATES // count)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _repeat(known: KnownCells, count: int) -> KnownCells:
    """Return each row `count` times, one after the other."""
    return known.take(np.arange(len(known.x)).repeat(count))


def _weighted(
    rows: NDArray[np.int64],
    table: pa.Table,
    x: NDArray[np.float32],
    log_weights: NDArray[np.float64],
    *,
    exact: bool,
) -> Completions:
    """Return completions with weights in proportion to exp(log_weights)."""
    logs = log_weights.reshape(len(rows), -1)
    top = logs.max(1, keepdims=True)
    weights = np.exp(logs - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return Completions(rows, table, x, weights, exact)
