"""Columns of real numbers."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.cell_states import fill_states, place_states, special_states
from ar_models.tables.columns import IN_SUPPORT, OUT_OF_RANGE, SPECIALS, Coded, Column
from ar_models.tables.lookup import lookup
from ar_models.tables.normal_scores import NormalScores


@dataclass(frozen=True)
class RealColumn(Column):
    """A real column: states and atoms first, then a nearly normal score.

    Attributes:
        states: Names of the codes of the state variable before the atoms.
        atoms: Values that have codes of their own after those, ascending.
        knots: Values at which the transform to scores bends, ascending.
        scores: Scores at the knots.
        decimals: Number of decimals to which `decode` rounds; None: not at all.
        step: It rounds to multiples of this many units of the last decimal.
    """

    states: tuple[str, ...] = ()
    atoms: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    decimals: int | None = None
    step: int = 1

    form: ClassVar[str] = "real"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.states

    @cached_property
    def transform(self) -> NormalScores:
        """The map from values to scores."""
        return NormalScores(self.knots, self.scores)

    @property
    def mean_log_slopes(self) -> tuple[float, ...]:
        return (0.0,) * self.value + (self.transform.mean_log_slope,)

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        cell = arrow.reals(array)
        states = special_states(cell.values)
        values = cell.values
        if states is not None:
            values = np.where(states > 0, self.knots[0], values)
        z, log_slope = self.transform.forward(values)
        x = np.empty((len(z), len(self.variables)), np.float32)
        x[:, self.value] = z
        finite = np.isfinite(x[:, self.value])
        out_of_support = np.where(finite, IN_SUPPORT, OUT_OF_RANGE).astype(np.int8)
        if self.atoms:
            at = lookup(np.array(self.atoms), cell.values)
            if states is None:
                states = np.zeros(len(z), np.int64)
            states = np.where(at >= 0, len(SPECIALS) + 1 + at, states)
        regular = place_states(
            x, out_of_support, states, cell.missing, self.states, len(self.atoms)
        )
        present = out_of_support == IN_SUPPORT
        if regular is not None:
            x[~regular, self.value :] = np.nan
            log_slope[~(regular & present)] = 0.0
        x[~present] = np.nan
        log_slope[~present] = 0.0
        return Coded(x, out_of_support, log_slope)

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        values = self._inverse(x[:, self.value])
        if not self.states:
            null = np.isnan(values)
            return arrow.from_reals(values, null if null.any() else None, type)
        codes = np.nan_to_num(x[:, 0], nan=1).astype(np.int64)
        null = fill_states(values, codes, np.isnan(x[:, 0]), self.states)
        atoms = np.asarray(self.atoms)
        at = codes >= len(self.states)
        values[at] = atoms[codes[at] - len(self.states)]
        return arrow.from_reals(values, null if null.any() else None, type)

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        reals = self._inverse(np.asarray(values, np.float64))
        null = np.isnan(reals)
        return arrow.from_reals(reals, null if null.any() else None, type)

    def _inverse(self, scores: np.ndarray) -> np.ndarray:
        """Return the values of scores, rounded to the grid of the training rows."""
        values = self.transform.inverse(scores)
        if self.decimals is None:
            return values
        if self.step > 1:
            unit = 10.0**self.decimals / self.step
            values = np.rint(values * unit) / unit
        return np.round(values, self.decimals)

    def labels(self, type: pa.DataType) -> list[str]:
        if not self.states:
            return []
        atoms = arrow.from_reals(np.asarray(self.atoms, float), None, type)
        return list(self.states) + [str(v) for v in atoms.to_pylist()]
