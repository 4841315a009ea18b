"""Empty cells of derived columns, filled by way of the constraint that holds."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.sampling import sample_categorical
from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.choices import ImputationMethod
from ar_models.scoring.empty_cells import EmptyCells, likeliest
from ar_models.scoring.filled_cells import Filling
from ar_models.tables.derivations import parent_cells
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn


class DerivedCells:
    """Empty cells of a derived column, which are filled by way of its gate.

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
        column = encoder.columns[j]
        assert isinstance(column, DerivedColumn)
        self.column, self.type, self.schema = column, encoder.type_of(j), encoder.schema
        self.span = encoder.span(j)
        self.gate = self.span.start
        self.plain = EmptyCells(encoder, model, j, x, known)
        self.parents: dict[str, pa.Array] = {}

    @property
    def x(self) -> Tensor:
        """Variables of the rows, (n, dim)."""
        return self.plain.x

    @property
    def known(self) -> Tensor:
        """Mask of the known variables, (n, dim)."""
        return self.plain.known

    def take_parents(self, table: pa.Table, rows: NDArray[np.int64]) -> None:
        """Take over the known and filled cells that the column is derived from."""
        taken = table.select(self.column.parents).take(pa.array(rows))
        self.parents = parent_cells(self.column, taken, self.schema)

    def gate_codes(self) -> Tensor:
        """Return log-probabilities of the codes that give a value, (n, codes)."""
        logs = self.plain.ask(self.gate).log_probabilities(0)
        excluded = self.column.without_value(self.parents, self.type)
        excluded &= ~excluded.all(axis=1, keepdims=True)
        mask = torch.from_numpy(excluded).to(logs.device)
        return logs.masked_fill(mask, -torch.inf).log_softmax(-1)

    def set_gate(self, logs: Tensor, codes: Tensor) -> None:
        """Set the gate to codes (n,) with these log-probabilities (n, codes)."""
        plain = self.plain
        plain.x, plain.known = plain.x.clone(), plain.known.clone()
        plain.x[:, self.span] = torch.nan
        plain.x[:, self.gate] = codes.to(plain.x.dtype)
        plain.known[:, self.gate] = True
        plain.log_prob += logs.gather(-1, codes.unsqueeze(-1))[:, 0].double()

    def draw(self, noise: Tensor) -> None:
        """Draw the variables of the column from uniform numbers (n, dim, 2)."""
        logs = self.gate_codes()
        self.set_gate(logs, sample_categorical(logs.exp(), noise[:, self.gate, 0]))
        if self.column.has_exceptions:
            self.plain.draw(noise)

    def filling(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Filling:
        """Decode the variables of the column, with their probability."""
        own = self.x[:, self.span].cpu().numpy()
        values = self.column.decode_derived(own, self.type, rng, self.parents)
        log_prob = self.plain.log_prob.cpu().numpy()
        plain = self.plain.column.encode(pa.chunked_array([values]), self.type)
        if plain.log_slope is not None:
            free = self.column.numbers(own[:, 0]) == 0
            log_prob = log_prob + np.where(free, plain.log_slope, 0.0)
        return Filling(self.column.name, rows, values, np.exp(log_prob))

    def point(
        self,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
        method: ImputationMethod,
        confidence: float,
    ) -> Filling:
        """Impute what the likeliest constraint gives, else as without constraints."""
        logs = self.gate_codes()
        self.set_gate(logs, logs.argmax(-1))
        free = self.column.numbers(self.x[:, self.gate].cpu().numpy()) == 0
        derived = self.filling(rows, rng)
        if not isinstance(self.plain.column, NumberColumn | RealColumn):
            if free.any():
                self.plain.walk(likeliest)
            return self.filling(rows, rng)
        certain = pa.array(derived.probability >= confidence)
        nothing = pa.scalar(None, derived.values.type)
        ends = pc.if_else(certain, derived.values, nothing)
        derived = replace(derived, low=ends, high=ends)
        if not free.any():
            return derived
        at = torch.from_numpy(np.flatnonzero(free)).to(self.x.device)
        rest = self.plain.select(at).point(rows[free], rng, method, confidence)
        return derived.replace(rest)
