"""Empty cells of a column, filled from the conditionals of its variables."""

from collections.abc import Callable
from copy import copy

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.sampling import sample_categorical
from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.choices import ImputationMethod
from ar_models.scoring.filled_cells import Filling, mean
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import Column
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn
from ar_models.variables import apply_given

QUANTILES = 64
"""Number of quantiles whose mean approximates the mean of a conditional."""


class EmptyCells:
    """Empty cells of one column, and the known variables of their rows.

    Args:
        encoder: Encoder of the rows.
        model: Model of their variables.
        j: Index of the column.
        x: Variables of the rows, (n, dim).
        known: Which variables are known, (n, dim).
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
        self.column = encoder.columns[j].plain
        self.type = encoder.type_of(j)
        self.value = encoder.value_variable(j)
        # The variables of the column without those of constraints.
        self.span = slice(self.value - self.column.value, encoder.span(j).stop)
        self.x, self.known = x, known
        self.log_prob = torch.zeros(len(x), dtype=torch.float64, device=x.device)

    def take_parents(self, table: pa.Table, rows: NDArray[np.int64]) -> None:
        """Do nothing, as the column is not derived from cells of these rows."""

    def select(self, at: Tensor) -> "EmptyCells":
        """Return the cells of some of the rows."""
        cell = copy(self)
        cell.x, cell.known = self.x[at], self.known[at]
        cell.log_prob = self.log_prob[at]
        return cell

    def ask(self, i: int) -> Conditionals:
        """Return the conditional of variable `i` alone, given the known variables."""
        whole = self.model.conditionals_given(self.x, self.known)
        block = whole.layout.select([i])
        return Conditionals(block, whole.parameters[:, block.source_index])

    def codes(self, i: int, own: Conditionals) -> Tensor:
        """Return log-probabilities of codes, (n, codes), given that none is missing."""
        logs = own.log_probabilities(0)
        gone = missing_code(self.column) if i == self.span.start else -1
        if gone >= 0:
            logs[:, gone] = -torch.inf
        return logs.log_softmax(-1)

    def walk(
        self, choose: Callable[[int, Conditionals, Tensor | None], Tensor]
    ) -> None:
        """Choose values for the variables of the column, one after another.

        Args:
            choose: Maps the index of a variable, its conditional and the
                log-probabilities of its codes, if it has any, to values (n,).
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
        """Draw the variables of the column from uniform numbers (n, dim, 2)."""

        def choose(i: int, own: Conditionals, logs: Tensor | None) -> Tensor:
            if logs is not None:
                return sample_categorical(logs.exp(), noise[:, i, 0])
            return own.sample(noise[:, [i]])[:, 0]

        self.walk(choose)

    def evaluate(self, x: Tensor) -> None:
        """Set the variables of the column to `x` (n, variables)."""
        self.walk(lambda i, own, logs: x[:, i - self.span.start].nan_to_num())

    def filling(
        self,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        values: pa.Array | None = None,
        interval: tuple[pa.Array, pa.Array] | None = None,
    ) -> Filling:
        """Decode the variables of the column, with their probability."""
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
        """Impute the mode of a category, or the median or mean of a number."""
        if not isinstance(self.column, NumberColumn | RealColumn):
            self.walk(likeliest)
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
            if values is not None and isinstance(self.column, NumberColumn):
                values = self.column.nearest(values, self.type)
        if values is None:
            self._settle_digits(quantiles.at(0.5))
            return self.filling(rows, rng, interval=(low, high))
        coded = self.column.encode(pa.chunked_array([values]), self.type)
        self.evaluate(torch.from_numpy(coded.x).to(self.x.device))
        return self.filling(rows, rng, values, (low, high))

    def _decode(
        self, upto: Tensor, rng: np.random.Generator, *, last: bool
    ) -> pa.Array:
        """Decode values of which the variables up to the main one are known.

        Args:
            upto: Variables up to the main one, (n, 1 or 2).
            rng: Generator that draws rare categories.
            last: Whether later digits are the highest possible; else the lowest.
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
        """Set the variables up to the main one, and later digits to their modes."""

        def choose(i: int, own: Conditionals, logs: Tensor | None) -> Tensor:
            if i <= self.value:
                return upto[:, i - self.span.start].nan_to_num()
            return likeliest(i, own, logs)

        self.walk(choose)


class _Quantiles:
    """Quantile function of the numbers of a column, given that none is missing.

    The distribution has the atoms of the state variable and, between them, that of the
    value variable in the regular state. NaN counts as greater than all numbers.

    Args:
        cell: Empty cells of the column, whose state is set to regular.
    """

    def __init__(self, cell: EmptyCells) -> None:
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
        self.regular = shares[:, 0]
        self.ends = {
            name: (shares[:, names.index(name)], names.index(name))
            for name in ("-inf", "+inf", "nan")
            if name in names
        }
        self.atom_shares = shares[:, len(names) :]
        self.first_atom = len(names)
        at = torch.zeros(0, dtype=cell.x.dtype)
        if column.atoms:
            if isinstance(column, RealColumn):
                z, _ = column.transform.forward(np.asarray(column.atoms, np.float64))
            else:
                z = column.tops()
            at = torch.from_numpy(z.astype(np.float32))
        columns = [self.own.cdf(z.expand(count, 1).to(cell.x)) for z in at.unbind()]
        # Share of the regular values up to each atom, (n, atoms).
        self.below = torch.cat([*columns, cell.x.new_zeros(count, 0)], 1)

    def at(self, q: float) -> Tensor:
        """Return state and value (n, 2), or the value alone (n, 1), of a quantile."""
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
        """Return shares and codes of the states greater than all finite numbers."""
        return [self.ends[name] for name in ("+inf", "nan") if name in self.ends]


def likeliest(i: int, own: Conditionals, logs: Tensor | None) -> Tensor:
    """Return the mode of a variable with codes, or the median of a number."""
    return own.quantile(0.5)[:, 0] if logs is None else logs.argmax(-1)


def missing_code(column: Column) -> int:
    """Return the code of a missing value of the column's first variable, or -1."""
    if isinstance(column, CodeColumn):
        return column.code("missing")
    names = column.specials_seen
    return names.index("missing") if "missing" in names else -1
