"""Values for empty cells, from what is known of their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.sampling import sample_categorical
from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.choices import ImputationMethod
from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import IN_SUPPORT, Column
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn
from ar_models.variables import apply_given

METHODS: tuple[ImputationMethod, ...] = get_args(ImputationMethod)

IMPUTED = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("probability", pa.float64()),
            ("low", pa.string()),
            ("high", pa.string()),
        ]
    )
)
"""What is told of the filled cells of a row."""

QUANTILES = 64
"""Quantiles whose mean is the mean of a conditional."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Filling:
    """What was written into the empty cells of a column.

    Attributes:
        column: Its name.
        rows: Numbers of the filled rows, ascending.
        values: What was written, in the type of training.
        probability: Of each value, given what is known of the row and that the value is
            not missing; of a real number that is no atom, a density per unit. Of a
            rare category that of all rare ones together.
        low: Lower ends of the intervals, None for draws and for categories.
        high: Upper ends.
    """

    column: str
    rows: NDArray[np.int64]
    values: pa.Array
    probability: Floats
    low: pa.Array | None = None
    high: pa.Array | None = None


def require_order_agnostic(model: AutoregressiveModel) -> None:
    """Raises ValueError unless a model can condition on any columns."""
    if not model.order_agnostic:
        raise ValueError(
            f"a {type(model).__name__} conditions on the columns before one alone, and "
            "empty cells need all that is known of their row; train with model.family "
            "eonade, or transformer with order_agnostic: true"
        )


@torch.inference_mode()
def impute(
    encoder: TableEncoder,
    model: AutoregressiveModel,
    table: pa.Table,
    method: ImputationMethod,
    noise: Tensor,
    *,
    confidence: float = 0.9,
    seed: int = 0,
) -> list[Filling]:
    """Values for the nulls in the modelled columns of a few rows.

    An empty cell is unknown: nothing follows from its being empty. Known are the cells
    that hold a value, unless nothing like it occurred in training. "draw" fills the
    cells of a row one after another, each drawn given what is known and what was
    filled before, and that it is not missing. The others fill each cell by itself,
    given what is known alone: a category by the likeliest one, a number by its median,
    or by its mean where it is not in several digits; a list place after place.

    Args:
        encoder: Of the rows.
        model: Of their variables, order-agnostic.
        table: The rows.
        method: What is written.
        noise: Uniform numbers (at least as many as rows, dim, 2) for draws.
        confidence: Of the central intervals of numbers.
        seed: Chooses among the rare categories that share a code.
    """
    require_order_agnostic(model)
    encoded = encoder.encode(table)
    x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
    seen = torch.from_numpy(encoded.out_of_support == IN_SUPPORT).to(x.device)
    columns = torch.tensor([v.column_index for v in model.variables], device=x.device)
    known = seen[:, columns]
    fillings = []
    for j in dict.fromkeys(columns[model.ordering()].tolist()):
        empty = table.column(encoder.names[j]).is_null().to_numpy()
        if not empty.any():
            continue
        # A null that occurred in training would else be known to be one.
        at = torch.from_numpy(np.flatnonzero(empty)).to(x.device)
        span = encoder.span(j)
        x[at[:, None], torch.arange(span.start, span.stop, device=x.device)] = torch.nan
        known[at[:, None], torch.arange(span.start, span.stop, device=x.device)] = False
    for j in dict.fromkeys(columns[model.ordering()].tolist()):
        empty = np.flatnonzero(table.column(encoder.names[j]).is_null().to_numpy())
        if not len(empty):
            continue
        at = torch.from_numpy(empty).to(x.device)
        cell = _Cell(encoder, model, j, x[at], known[at])
        rng = np.random.default_rng([seed, j])
        if method == "draw":
            cell.draw(noise[: len(x)].to(x.device, x.dtype)[at])
            x[at], known[at] = cell.x, cell.known
            fillings.append(cell.filling(empty, rng))
        else:
            fillings.append(cell.point(empty, rng, method, confidence))
    return fillings


class _Cell:
    """One column's empty cells, and what is known of their rows.

    Args:
        encoder: Of the rows.
        model: Of their variables.
        j: Number of the column.
        x: Variables of the rows, (n, dim).
        known: Which of them are known, (n, dim).
    """

    def __init__(
        self,
        encoder: TableEncoder,
        model: AutoregressiveModel,
        j: int,
        x: Tensor,
        known: Tensor,
    ) -> None:
        self.model = model
        self.column = encoder.columns[j]
        self.type = encoder.type_of(j)
        self.span = encoder.span(j)
        self.value = encoder.value_variable(j)
        self.x, self.known = x, known
        self.log_prob = torch.zeros(len(x), dtype=torch.float64, device=x.device)

    def ask(self, i: int) -> Conditionals:
        """The conditional of variable `i` alone, given what is known now."""
        whole = self.model.conditionals_given(self.x, self.known)
        block = whole.layout.select([i])
        return Conditionals(block, whole.parameters[:, block.source_index])

    def codes(self, i: int, own: Conditionals) -> Tensor:
        """Log-probabilities of codes, (n, codes), given that none is missing."""
        logs = own.log_probabilities(0)
        gone = missing_code(self.column) if i == self.span.start else -1
        if gone >= 0:
            logs[:, gone] = -torch.inf
        return logs.log_softmax(-1)

    def walk(
        self, choose: Callable[[int, Conditionals, Tensor | None], Tensor]
    ) -> None:
        """Goes down the column's variables, choosing a value for each.

        Args:
            choose: From a variable, its conditional and, of codes, their
                log-probabilities, to values (n,).
        """
        for i in range(self.span.start, self.span.stop):
            variable = self.model.variables[i]
            own = self.ask(i)
            logs = self.codes(i, own) if variable.size else None
            value = choose(i, own, logs).to(self.x.dtype)
            self.x[:, i] = apply_given(variable, value, None, self.x)
            mine = self.x[:, [i]]
            if logs is None:
                chosen = own.log_prob(mine)
            else:
                chosen = logs.gather(1, mine.nan_to_num().long())
            self.log_prob += chosen.masked_fill(mine.isnan(), 0)[:, 0].double()
            self.known[:, i] = True

    def draw(self, noise: Tensor) -> None:
        """Draws all of the column's variables from uniform numbers (n, dim, 2)."""

        def choose(i: int, own: Conditionals, logs: Tensor | None) -> Tensor:
            if logs is not None:
                return sample_categorical(logs.exp(), noise[:, i, 0])
            return own.sample(noise[:, [i]])[:, 0]

        self.walk(choose)

    def evaluate(self, x: Tensor) -> None:
        """Takes the column's variables from `x` (n, variables)."""
        self.walk(lambda i, own, logs: x[:, i - self.span.start].nan_to_num())

    def filling(
        self,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        values: pa.Array | None = None,
        interval: tuple[pa.Array, pa.Array] | None = None,
    ) -> Filling:
        """What the column's variables stand for, and how probable that is."""
        own = self.x[:, self.span].cpu().numpy()
        if values is None:
            values = self.column.decode(own, self.type, rng)
        log_prob = self.log_prob.cpu().numpy()
        slope = self.column.encode(pa.chunked_array([values]), self.type).log_slope
        if slope is not None:
            log_prob = log_prob + slope
        low, high = interval or (None, None)
        probability = np.exp(log_prob)
        return Filling(self.column.name, rows, values, probability, low, high)

    def point(
        self,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        method: ImputationMethod,
        confidence: float,
    ) -> Filling:
        """The likeliest category, or the median or mean of a number."""
        if not isinstance(self.column, NumberColumn | RealColumn):
            self.walk(_likely)
            return self.filling(rows, rng)
        first = self.x, self.known
        quantiles = _Quantiles(self)
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        low, high = (self._decode(quantiles.at(q), rng, last=q > 0.5) for q in tails)
        self.x, self.known = first[0].clone(), first[1].clone()
        values = None
        if method == "mean":
            levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
            each = [self._decode(quantiles.at(q), rng, last=False) for q in levels]
            values = mean(each, self.type)
        if values is None:
            self._settle_digits(quantiles.at(0.5))
            return self.filling(rows, rng, interval=(low, high))
        coded = self.column.encode(pa.chunked_array([values]), self.type)
        self.evaluate(torch.from_numpy(coded.x).to(self.x.device))
        return self.filling(rows, rng, values, (low, high))

    def _decode(
        self, upto: Tensor, rng: np.random.Generator, *, last: bool
    ) -> pa.Array:
        """Values from their state and first variable (n, …), the digits after low.

        Args:
            upto: The variables up to the main one.
            rng: For `decode`.
            last: Whether the digits after are the highest instead.
        """
        digits = self.model.variables[self.value + 1 : self.span.stop]
        rest = [
            float(v.size - 1 if v.size else v.upper or 0) if last else 0.0
            for v in digits
        ]
        filled = upto.new_tensor(rest).expand(len(upto), -1)
        whole = torch.cat([upto, filled], 1)
        return self.column.decode(whole.cpu().numpy(), self.type, rng)

    def _settle_digits(self, upto: Tensor) -> None:
        """Takes the variables up to the main one, and likely digits after it."""

        def choose(i: int, own: Conditionals, logs: Tensor | None) -> Tensor:
            if i <= self.value:
                return upto[:, i - self.span.start].nan_to_num()
            return _likely(i, own, logs)

        self.walk(choose)


class _Quantiles:
    """The quantile function of a column of numbers that are not missing.

    Between the atoms that a state variable may hold, the distribution is that of the
    value variable in the state regular. NaN counts as beyond all numbers.

    Args:
        cell: The column's empty cells; its state is taken to be regular.
    """

    def __init__(self, cell: _Cell) -> None:
        column = cell.column
        assert isinstance(column, NumberColumn | RealColumn)
        self.has_state = cell.value != cell.span.start
        count = len(cell.x)
        shares = cell.x.new_ones(count, 1)
        if self.has_state:
            shares = cell.codes(cell.span.start, cell.ask(cell.span.start)).exp()
            cell.x, cell.known = cell.x.clone(), cell.known.clone()
            cell.x[:, cell.span.start] = 0
            cell.known[:, cell.span.start] = True
        self.own = cell.ask(cell.value)
        names = list(column.states) if self.has_state else ["regular"]
        atoms = column.atoms if isinstance(column, RealColumn) else ()
        self.regular = shares[:, 0]
        self.ends = {
            name: (shares[:, names.index(name)], names.index(name))
            for name in ("-inf", "+inf", "nan")
            if name in names
        }
        self.atom_shares = shares[:, len(names) :]
        self.first_atom = len(names)
        at = torch.zeros(0, dtype=cell.x.dtype)
        if atoms:
            assert isinstance(column, RealColumn)
            z, _ = column.transform.forward(np.asarray(atoms, np.float64))
            at = torch.from_numpy(z.astype(np.float32))
        columns = [self.own.cdf(z.expand(count, 1).to(cell.x)) for z in at.unbind()]
        # The share of regular values up to each atom, (n, atoms).
        self.below = torch.cat([*columns, cell.x.new_zeros(count, 0)], 1)

    def at(self, q: float) -> Tensor:
        """State and value (n, 2), or the value alone (n, 1), of the quantile `q`."""
        nothing = torch.zeros_like(self.regular)
        down, down_code = self.ends.get("-inf", (nothing, -1))
        sums = self.atom_shares.cumsum(-1) + down.unsqueeze(-1)
        reached = sums + self.regular.unsqueeze(-1) * self.below
        passed = (reached < q).sum(-1, keepdim=True)  # atoms below the quantile
        more = torch.cat([down.unsqueeze(-1), sums], -1).gather(-1, passed)[:, 0]
        rest = (q - more) / self.regular.clamp(min=1e-30)
        value = self.own.quantile(rest.clamp(1e-6, 1 - 1e-6).unsqueeze(-1))[:, 0]
        if not self.has_state:
            return value.unsqueeze(-1)
        state = torch.zeros_like(value)
        if self.below.shape[1]:
            atom = passed.clamp(max=self.below.shape[1] - 1)
            before = (reached - self.atom_shares).gather(-1, atom)[:, 0]
            on_atom = (passed[:, 0] < self.below.shape[1]) & (before < q)
            state = torch.where(on_atom, self.first_atom + atom[:, 0], state)
        state = torch.where(q <= down, down_code, state)
        beyond = 1 - sum((share for share, _ in self._upper()), nothing)
        for share, code in self._upper():
            state = torch.where((q > beyond) & (share > 0), code, state)
            beyond = beyond + share
        absent = state != 0
        return torch.stack([state, value.masked_fill(absent, torch.nan)], -1)

    def _upper(self) -> list[tuple[Tensor, int]]:
        """Shares and codes of what counts as beyond all finite numbers."""
        return [self.ends[name] for name in ("+inf", "nan") if name in self.ends]


def _likely(i: int, own: Conditionals, logs: Tensor | None) -> Tensor:
    """The likeliest code of a variable, or its median."""
    return own.quantile(0.5)[:, 0] if logs is None else logs.argmax(-1)


def missing_code(column: Column) -> int:
    """The code of a missing value of a column's first variable, or -1."""
    if isinstance(column, CodeColumn):
        return column.code("missing")
    names = column.specials_seen
    return names.index("missing") if "missing" in names else -1


def mean(each: Sequence[pa.Array], type: pa.DataType) -> pa.Array | None:
    """The mean of numbers, rounded to the type; None for types that are no numbers.

    Args:
        each: Arrays (n,) of quantiles.
        type: Their type.
    """
    inner = arrow.plain(type)
    if not (pa.types.is_integer(inner) or pa.types.is_floating(inner)):
        return None
    values = np.stack(
        [
            pc.cast(decoded(a, inner), pa.float64(), safe=False).to_numpy(False)
            for a in each
        ]
    )
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(0)
    found = total / np.maximum(finite.sum(0), 1)
    found = np.where(finite.any(0), found, np.nan)
    if pa.types.is_integer(inner):
        return arrow.as_type(
            pa.array(np.rint(found).astype(np.int64)).cast(inner), type
        )
    return arrow.as_type(pa.array(found).cast(inner), type)


def decoded(array: pa.Array, type: pa.DataType) -> pa.Array:
    """The values of an array, however it is encoded, as `type`."""
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([decoded(c, type) for c in array.chunks], type)
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    return array.cast(type)


def fill(table: pa.Table, fillings: Sequence[Filling]) -> pa.Table:
    """A table with its empty cells filled; all others are as they were.

    Raises:
        ValueError: A column's type cannot hold a value.
    """
    for filling in fillings:
        place = table.column_names.index(filling.column)
        field = table.schema.field(place)
        inner = arrow.plain(field.type)
        try:
            values = decoded(filling.values, inner)
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"column {filling.column!r} is {field.type}, which cannot hold a value "
                f"that was learned as {filling.values.type}: {error}; cast it first"
            ) from error
        old = decoded(table.column(place), inner)
        sources = np.arange(len(old))
        sources[filling.rows] = len(old) + np.arange(len(values))
        whole = arrow.as_type(patched(old, values, sources), field.type)
        table = table.set_column(place, field, whole)
    return table


def patched(
    old: pa.ChunkedArray, other: pa.Array | pa.ChunkedArray, sources: NDArray[np.int64]
) -> pa.Array:
    """Cells of two arrays of one type, which may be nested.

    Args:
        old: The first array.
        other: The second.
        sources: Where each cell comes from, counted through both arrays.
    """
    more = other.chunks if isinstance(other, pa.ChunkedArray) else [other]
    both = pa.chunked_array([*old.chunks, *more], old.type)
    taken = both.take(pa.array(sources)).combine_chunks()
    return pa.concat_arrays(taken.chunks) if hasattr(taken, "chunks") else taken


def details(fillings: Sequence[Filling], rows: int) -> pa.Array:
    """What is told of the filled cells of each row, (rows,) of type `IMPUTED`."""
    entries: list[list[dict[str, object]]] = [[] for _ in range(rows)]
    for filling in fillings:
        ends = [
            [None] * len(filling.rows)
            if end is None
            else [arrow.scalar_text(value) for value in end]
            for end in (filling.low, filling.high)
        ]
        for row, probability, low, high in zip(
            filling.rows.tolist(), filling.probability.tolist(), *ends, strict=True
        ):
            entries[row].append(
                {
                    "column": filling.column,
                    "probability": probability,
                    "low": low,
                    "high": high,
                }
            )
    return pa.array(entries, IMPUTED)
