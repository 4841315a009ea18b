"""Names of the options of formulas.

The module imports nothing but `typing`, so that a configuration can use its types
without loading Arrow.
"""

from typing import Literal

Rounding = Literal["half_up", "half_even", "floor", "numpy"]
"""Rounding of values to their grid, as in Python's module `decimal`; half_up rounds
halves away from zero. numpy rounds as `numpy.round` does: floating-point errors decide
about what would be a half in decimal arithmetic."""

Operator = Literal["<=", "<", ">=", ">"]
"""Comparisons of an inequality."""

Part = Literal[
    "date",
    "year",
    "quarter",
    "month",
    "iso_week",
    "day",
    "day_of_year",
    "day_of_week",
    "iso_day_of_week",
    "day_name",
    "month_name",
    "short_day_name",
    "short_month_name",
    "hour",
    "minute",
    "second",
]
"""Parts of a date or timestamp: day_of_week counts from 0 on Monday, iso_day_of_week
from 1. Names are English, short ones such as Mon and Jan."""
