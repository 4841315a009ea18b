"""The interface of a column of a table, which maps its cells to variables and back.

A column's variables stand in one group: a state variable first where the column has
special values, then the value, in one or more digits. `encode` and `decode` work on
whole arrays. Numbers of variables (parent) are relative to the column here;
`TableEncoder` shifts them.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from ar_models.variables import Variable

Kind = Literal[
    "binary",
    "categorical",
    "integer",
    "decimal",
    "real",
    "timestamp",
    "image",
    "sequence",
]

IN_SUPPORT, MISSING, UNSEEN, OUT_OF_RANGE, VIOLATION = range(5)
"""Codes of the reasons why a cell is out of the support of the training rows. A
violation breaks a constraint that held in all training rows in which it is defined."""

REGULAR = "regular"
SPECIALS = ("missing", "nan", "+inf", "-inf")
"""Names of the states of a cell that holds no regular value, in their order."""


@dataclass(frozen=True)
class Coded:
    """Variables of one column in n rows.

    Attributes:
        x: (n, variables) float32; NaN where absent.
        out_of_support: (n,) int8: IN_SUPPORT or a reason, such as MISSING.
        log_slope: (n,) float64, log |dz/dx| of reals (0 in other states), or None.
    """

    x: np.ndarray
    out_of_support: np.ndarray
    log_slope: np.ndarray | None = None

    def log_abs_det(self, log_masses: np.ndarray) -> np.ndarray:
        """Return the log-determinant of the encoding, (n,), nats.

        Args:
            log_masses: Log-mass of a cell by the reason for being out of support.
        """
        if not self.out_of_support.any():
            volume = np.full(len(self.x), log_masses[IN_SUPPORT])
        else:
            volume = log_masses[self.out_of_support]
        return volume if self.log_slope is None else volume + self.log_slope


@dataclass(frozen=True)
class Column:
    """A modelled column of a table.

    Attributes:
        name: Name in the table.
        kind: Kind of its conditional distribution.
        type: Arrow type in the training rows, as text.
        rows: Number of training rows, from which the mass out of support follows.
        variables: Variables of the column; `parent` counts from the first of them.
        range: Least and greatest value of sampled rows besides atoms, integers in the
            type's units or floats of real types; None: any value.
    """

    name: str
    kind: Kind
    type: str
    rows: int
    variables: tuple[Variable, ...]
    range: tuple[int | float, int | float] | None = field(default=None, kw_only=True)

    form: ClassVar[str]

    @property
    def out_of_support_mass(self) -> float:
        """Probability of missing, unseen and out-of-range values together."""
        return 1 / (self.rows + 2)

    @property
    def violation_mass(self) -> float:
        """Probability of violating constraints; 0 if there are none or some row did."""
        return 0.0

    @property
    def log_masses(self) -> np.ndarray:
        """Log-probabilities of being in support and of each reason not to be, (5,)."""
        reason = math.log(self.out_of_support_mass / 3)
        violation = math.log(self.violation_mass) if self.violation_mass else -math.inf
        inside = math.log1p(-self.out_of_support_mass - self.violation_mass)
        return np.array([inside, reason, reason, reason, violation])

    @property
    def value(self) -> int:
        """Index of the main value variable among the variables of the column."""
        return 1 if len(self.variables) > 1 and self.variables[1].parent == 0 else 0

    @property
    def plain(self) -> "Column":
        """The column as it is modelled without constraints."""
        return self

    @property
    def specials_seen(self) -> tuple[str, ...]:
        """Names of the special values in the training rows, such as missing and nan."""
        raise NotImplementedError

    @property
    def mean_log_slopes(self) -> tuple[float, ...]:
        """Mean contribution of each variable to `Coded.log_slope`, where present."""
        return (0.0,) * len(self.variables)

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        """Convert an array to variables; `type` is its Arrow type in training."""
        raise NotImplementedError

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        """Convert variables (n, variables) to an array of `type`; null where absent."""
        raise NotImplementedError

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        """Convert values of the main value variable to an array of `type`."""
        raise NotImplementedError

    def labels(self, type: pa.DataType) -> list[str]:
        """Return the names of the codes of the first variable; [] if it has none."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict, from which `column_from_dict` rebuilds a column."""
        return {"form": self.form, **asdict(self)}


def absolute_variables(columns: Sequence[Column]) -> tuple[Variable, ...]:
    """Return all variables, with groups and parents numbered over the whole table."""
    variables: list[Variable] = []
    taken = {column.name for column in columns}
    groups = 0
    for j, column in enumerate(columns):
        first, base = len(variables), groups
        for v in column.variables:
            name = v.name
            while name != column.name and name in taken:
                name += "_"
            taken.add(name)
            parent = None if v.parent is None else v.parent + first
            group = base + v.group
            column_index = None if group == j else j
            variables.append(
                replace(v, name=name, group=group, parent=parent, column=column_index)
            )
            groups = max(groups, group + 1)
    return tuple(variables)
