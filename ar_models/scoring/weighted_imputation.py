"""Imputation by weighted completions, for models that take columns in order."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from ar_models.scoring.choices import ImputationMethod
from ar_models.scoring.completions import (
    Completer,
    Completions,
    Effectiveness,
    KnownCells,
)
from ar_models.scoring.empty_cells import QUANTILES
from ar_models.scoring.filled_cells import Filling, concatenated, fill, mean
from ar_models.scoring.solved_cells import solved_cells
from ar_models.tables import arrow
from ar_models.tables.calendar_column import CalendarColumn
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import IN_SUPPORT
from ar_models.tables.derivations import parent_cells
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.ranges import numbers
from ar_models.tables.real_column import RealColumn
from ar_models.tables.trained_cells import as_trained

Ends = tuple[pa.Array, pa.Array] | None


def impute_by_weights(
    completer: Completer,
    table: pa.Table,
    method: ImputationMethod,
    generator: torch.Generator,
    *,
    confidence: float = 0.9,
    seed: int = 0,
    effectiveness: Effectiveness | None = None,
) -> list[Filling]:
    """Impute the nulls in the modelled columns of a few rows.

    What is known and what is filled is as for `imputation.impute`; all is taken from
    the weighted completions of each row. The probability of a number is not known. A
    cell stays null if the known cells of its row contradict each other.

    Args:
        completer: Completes the rows.
        table: The rows.
        method: Value written into an empty cell.
        generator: CPU generator of the draws.
        confidence: Coverage of the central intervals of numbers.
        seed: Seed by which rare categories that share a code are drawn.
        effectiveness: Counts the rows that were completed by draws.
    """
    encoder = completer.encoder
    solved, fillings = solved_cells(encoder, table)
    known = known_parts(encoder, solved)
    rows = np.flatnonzero(known.filled.any(1))
    if not len(rows):
        return fillings
    points = _Points(encoder, solved, method, confidence)
    for found in _complete(completer, known.take(rows), generator, seed):
        if effectiveness is not None:
            effectiveness.add(found)
        uniform = torch.rand(len(found.rows), generator=generator).numpy()
        points.add(replace(found, rows=rows[found.rows]), known.filled, uniform)
    return fillings + points.fillings(np.random.default_rng(seed))


def known_parts(encoder: TableEncoder, table: pa.Table) -> KnownCells:
    """Return the known cells of rows, of which all nulls are to be filled.

    A cell that is out of support is unknown, but not filled.
    """
    table = table.select(encoder.names)
    encoded = encoder.encode(table)
    null = np.stack([np.asarray(table.column(n).is_null()) for n in encoder.names], 1)
    undetermined = encoder.undetermined(encoded.x, table)
    late = undetermined & ~null
    for j in np.flatnonzero(late.any(0)).tolist():
        plain = encoder.encode_plain(j, table)
        late[:, j] &= plain.out_of_support == IN_SUPPORT
    seen = (encoded.out_of_support == IN_SUPPORT) & ~undetermined
    columns = [variable.column_index for variable in encoder.variables]
    x = np.where(seen[:, columns], encoded.x, np.float32(np.nan))
    return KnownCells(table, x, late, null)


def _complete(
    completer: Completer, known: KnownCells, generator: torch.Generator, seed: int
) -> Iterator[Completions]:
    """Complete rows; where derived cells exclude all completions, without those."""
    impossible = []
    for found in completer.complete(known, generator, seed):
        lost = (found.weights.sum(1) == 0) & known.late[found.rows].any(1)
        impossible.append(found.rows[lost])
        yield found.take(np.flatnonzero(~lost)) if lost.any() else found
    rows = np.concatenate([*impossible, np.zeros(0, np.int64)])
    if len(rows):
        part = known.take(rows)
        part = replace(part, late=np.zeros_like(part.late))
        for found in completer.complete(part, generator, seed):
            yield replace(found, rows=rows[found.rows])


class _Points:
    """Imputed cells of rows, collected from their completions.

    Args:
        encoder: Encoder of the rows.
        table: The rows.
        method: Value written into an empty cell.
        confidence: Coverage of the central intervals of numbers.
    """

    def __init__(
        self,
        encoder: TableEncoder,
        table: pa.Table,
        method: ImputationMethod,
        confidence: float,
    ) -> None:
        self.encoder, self.table = encoder, table
        self.method, self.confidence = method, confidence
        self.parts: dict[int, list[Filling]] = {}
        self.gates: dict[int, dict[int, float]] = {}

    def add(
        self,
        found: Completions,
        filled: NDArray[np.bool_],
        uniform: NDArray[np.float64],
    ) -> None:
        """Collect the filled cells of some rows.

        Args:
            found: Completions of the rows.
            filled: Which cells are filled, (rows of the table, columns).
            uniform: Uniform numbers that choose a completion of each row.
        """
        chosen = found.choose(uniform)
        possible = found.weights.sum(1) > 0
        for j in range(len(self.encoder.columns)):
            own = np.flatnonzero(filled[found.rows, j] & possible)
            if not len(own):
                continue
            part = found.take(own) if len(own) < len(found.rows) else found
            cells = _CompletedCells(self.encoder, j, part)
            if self.method == "draw":
                shift = (own - np.arange(len(own))) * found.weights.shape[1]
                filling = cells.at(chosen[own] - shift)
            else:
                filling = cells.point(self.method, self.confidence)
                self._note_gates(j, part)
            self.parts.setdefault(j, []).append(filling)

    def _note_gates(self, j: int, found: Completions) -> None:
        """Note which constraint of a derived column is the likeliest in each row."""
        column = self.encoder.columns[j]
        if not isinstance(column, DerivedColumn):
            return
        codes = found.x[:, self.encoder.span(j).start].reshape(found.weights.shape)
        shares = np.stack(
            [
                (found.weights * (codes == code)).sum(1)
                for code in range(column.variables[0].size)
            ],
            axis=1,
        )
        likeliest = dict(
            zip(found.rows.tolist(), shares.argmax(1).tolist(), strict=True)
        )
        self.gates.setdefault(j, {}).update(likeliest)

    def fillings(self, rng: np.random.Generator) -> list[Filling]:
        """Return the filled cells of each column; derived ones follow the others."""
        table, fillings = self.table, []
        for j in filter(self.parts.__contains__, self.encoder.order):
            filling = concatenated(self.parts[j])
            if j in self.gates:
                filling = self._derived(j, filling, table, rng)
            fillings.append(filling.without_nulls())
            if self.encoder.names[j] in self.encoder.parents:
                table = fill(table, fillings[-1:])
        return fillings

    def _derived(
        self, j: int, filling: Filling, table: pa.Table, rng: np.random.Generator
    ) -> Filling:
        """Compute derived cells by the likeliest constraint, from the filled rows."""
        column = self.encoder.columns[j]
        assert isinstance(column, DerivedColumn)
        x = np.full((len(filling.rows), len(column.variables)), np.nan, np.float32)
        x[:, 0] = [self.gates[j][row] for row in filling.rows.tolist()]
        at = np.flatnonzero(column.numbers(x[:, 0]) > 0)
        if not len(at):
            return filling
        rows = filling.rows[at]
        cells = parent_cells(column, table.take(pa.array(rows)), self.encoder.schema)
        type = self.encoder.type_of(j)
        values = column.decode_derived(x[at], type, rng, cells)
        probability, low, high = filling.probability[at], filling.low, filling.high
        own_ends = [
            None if end is None else end.take(pa.array(at)) for end in (low, high)
        ]
        part = Filling(filling.column, rows, values, probability, *own_ends)
        return filling.replace(part.without_nulls())


class _CompletedCells:
    """Cells of one column in the completions of some rows.

    Args:
        encoder: Encoder of the rows.
        j: Index of the column.
        found: Completions of the rows.
    """

    def __init__(self, encoder: TableEncoder, j: int, found: Completions) -> None:
        self.type = encoder.type_of(j)
        self.column = encoder.columns[j].plain
        self.rows, self.weights = found.rows, found.weights
        self.cells, _ = as_trained(found.table.column(self.column.name), self.type)
        self.is_code = isinstance(self.column, CodeColumn)
        self.is_number = isinstance(
            self.column, NumberColumn | RealColumn | CalendarColumn
        )

    def at(self, places: NDArray[np.int64], ends: Ends = None) -> Filling:
        """Return the cells at some places of the table, one of each row."""
        values = self.cells.take(pa.array(places))
        probability = np.full(len(self.rows), np.nan)
        if self.is_code:
            same = self.identities()
            own = same.ravel()[places][:, None] == same
            probability = (self.weights * own).sum(1)
        values = arrow.as_type(values, self.type)
        return Filling(self.column.name, self.rows, values, probability, *(ends or ()))

    def identities(self) -> NDArray[np.int64]:
        """Return numbers that are equal for equal cells, (n, k)."""
        cells = self.cells
        if not pa.types.is_dictionary(cells.type):
            cells = pc.dictionary_encode(cells, null_encoding="encode")
        indices = cells.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.asarray(indices, np.int64).reshape(self.weights.shape)

    def point(self, method: ImputationMethod, confidence: float) -> Filling:
        """Impute the mode of a category, or the median or mean of a number."""
        if self.is_code:
            same = self.identities()
            totals = np.zeros((len(same), int(same.max()) + 2))
            each = np.arange(len(same))[:, None].repeat(same.shape[1], 1)
            np.add.at(totals, (each, same), self.weights)
            shares = np.take_along_axis(totals, same, 1)
            return self.at(self.place(shares.argmax(1)))
        if not self.is_number:
            return self.at(self.place(self.weights.argmax(1)))
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        low, high = (
            arrow.as_type(self.cells.take(pa.array(self.quantile(q))), self.type)
            for q in tails
        )
        middle = self.at(self.quantile(0.5), (low, high))
        if method == "median":
            return middle
        levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
        values = mean(
            [self.cells.take(pa.array(self.quantile(q))) for q in levels], self.type
        )
        if values is None:
            return middle
        if isinstance(self.column, NumberColumn):
            values = self.column.nearest(values, self.type)
        return replace(middle, values=values)

    def place(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return places in the table of one completion, by its number, of each row."""
        return np.asarray(np.arange(len(chosen)) * self.weights.shape[1] + chosen)

    def quantile(self, q: float) -> NDArray[np.int64]:
        """Return the places of the cells that are quantiles, (n,); NaN is greatest."""
        values, _ = numbers(self.cells, self.type)
        order = values.reshape(self.weights.shape).argsort(1, kind="stable")
        reached = np.take_along_axis(self.weights, order, 1).cumsum(1)
        last = (reached < q * reached[:, -1:]).sum(1).clip(max=order.shape[1] - 1)
        return self.place(np.take_along_axis(order, last[:, None], 1)[:, 0])
