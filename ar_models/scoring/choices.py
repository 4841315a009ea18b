"""Names of the options that scoring, sampling and imputation accept.

The module imports nothing but `typing`, so that a configuration can use its types
without loading torch.
"""

from typing import Literal, get_args

Statistic = Literal[
    "combined",
    "density",
    "surplus",
    "excess",
    "surprisal",
    "tail",
    "leave_one_out",
    "ratio",
    "marginal_tail",
    "nearness",
    "neighbourhood",
]
"""Names of the statistics of `ar_models.scoring.statistics`."""

STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

DISTANCES: tuple[Statistic, ...] = ("nearness", "neighbourhood")
"""Statistics that are distances to stored training rows."""

DEFAULT_STATISTIC: Statistic = "combined"

Precision = Literal["fp32", "bf16"]
"""Number format of a network's matrix products."""

MissingPolicy = Literal["model", "marginalise"]
"""Meaning of a null: a value that is missing, as in training, or an unknown value."""

Explain = Literal["all", "flagged", "none"]
"""Rows that get an explanation."""

ImputationMethod = Literal["draw", "median", "mean"]
"""Value written into an empty cell: a draw, or a point estimate."""
