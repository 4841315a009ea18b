"""Arithmetic of clock times that are written as numbers hhmm."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.arithmetic import Terms, distinct, weighted_sum
from ar_models.tables.formulas.formula import Cells, NullableFormula
from ar_models.tables.formulas.numbers import from_numbers, numbers, sum_text

DAY = 1440
"""Minutes in a day."""


@dataclass(frozen=True)
class ClockFormula(NullableFormula):
    """A clock time, or a number of minutes, computed modulo 24 hours.

    Attributes:
        clocks: Columns of clock times hhmm, 0 to 2400, and their coefficients, such as
            1 for the end and -1 for the start of a duration.
        minutes: Columns of numbers of minutes, and their coefficients.
        constant: Minutes that are added.
        output: Whether the value is a clock time hhmm or a number of minutes.
        midnight: How a clock time at midnight is written.
        lowest: Least number of minutes; the values cover the 24 hours from it.
    """

    clocks: Terms
    minutes: Terms = ()
    constant: float = 0.0
    output: Literal["clock", "minutes"] = "clock"
    midnight: Literal[0, 2400] = 0
    lowest: float = 0.0

    kind: ClassVar[str] = "clock"

    @property
    def columns(self) -> tuple[str, ...]:
        return distinct(*(name for name, _ in self.clocks + self.minutes))

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        own = {name: cells[name] for name in self.columns}
        total = weighted_sum(self.minutes, own) + self.constant
        for name, coefficient in self.clocks:
            total = total + coefficient * clock_minutes(numbers(own[name]))
        if self.output == "minutes":
            total = np.mod(total - self.lowest, DAY) + self.lowest
            return from_numbers(total, type)
        total = np.mod(total, DAY)
        clock = 100 * np.floor(total / 60) + np.mod(total, 60)
        return from_numbers(np.where(clock == 0, self.midnight, clock), type)

    def describe(self) -> str:
        text = sum_text(self.clocks + self.minutes, self.constant)
        what = "clock time" if self.output == "clock" else "minutes"
        return f"{text} ({what}, modulo 24 hours)"


def clock_minutes(clock: np.ndarray) -> np.ndarray:
    """Convert clock times hhmm (n,) to minutes since midnight; NaN if impossible."""
    hours, minutes = np.floor(clock / 100), np.mod(clock, 100)
    with np.errstate(invalid="ignore"):
        valid = (clock >= 0) & (clock <= 2400) & (minutes < 60)
        valid &= clock == np.floor(clock)
    return np.where(valid, 60 * hours + minutes, np.nan)
