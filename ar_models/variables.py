"""Descriptions of the variables of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # which takes seconds to import, and encoders do without it
    from torch import Tensor

Kind = Literal["binary", "categorical", "integer", "real"]

MAX_INTEGER = 2**23
"""Maximum absolute value of integers; float32 tensors hold all integers to 2**24."""

MIN_TAIL_SHAPE = 0.05
"""Least shape of a generalized Pareto tail of integers, so that every integer has a
probability; 0 is an exponential tail."""


MAX_ONE_HOT = 64
"""Maximum number of codes that are one-hot encoded; larger vocabularies are embedded
as inputs and factorised as outputs."""


MIN_FREQUENCY = 1e-6
"""Minimum frequency of an outcome from which a bias starts."""


@dataclass(frozen=True)
class Variable:
    """One factor of the chain rule, stored in one column of `x`.

    A batch `x` is a float32 tensor (batch, dim). A binary variable holds 0 or 1, a
    categorical one a code 0 … size - 1, an integer one the integer itself (at most
    `MAX_INTEGER` in absolute value) and a real one its value. NaN means that the
    variable is absent from the row: its parent took another code, or the value is out
    of support. An absent variable contributes a log-probability of exactly 0.

    Attributes:
        name: Unique within a model, such as `dep_delay` or `dep_delay.state`.
        kind: Kind of its conditional distribution.
        group: Number of the block of variables that stay together and in this order in
            every ordering, such as a column of a table or a pixel of an image.
        size: Number of codes of a binary (2) or categorical variable, else 0.
        parent: Index of the earlier variable of the same group that decides whether
            this one is present, or None if it always is.
        parent_code: The code of `parent` for which this variable is present.
        at_least: Whether it is present for all greater codes too, as for lengths.
        location: Subtracted from integers and reals before a network sees them.
        scale: Divides them after that; log-densities include -log scale.
        lower: Least possible integer, which gets the mass below it. None: no bound.
        upper: Greatest possible integer, likewise.
        atoms: Integers with a point mass of their own in the mixture.
        frequencies: Relative frequencies in the training data, from which biases start:
            of the codes, or of the atoms followed by all other integers together, or
            of the leaves of a tree followed by the digits in each of its contexts, see
            `IntervalTree`.
        knots: Ascending quantiles in the variable's own units: where the piecewise
            linear input features bend and where mixture components start.
        edges: Ascending edges of the decimal intervals into which the integers are
            divided, each a power of ten after the one before it; () without such a
            division. Such a variable has no atoms.
        tails: Scale and shape of the generalized Pareto distribution of the distances
            from the first edge below it, then of those from the last edge above it;
            () for nearly exponential tails with the scale `scale`.
        column: Number of the column that it is a part of; None: that of the group.
        place: Position in the list, for a column of lists.
        cyclic: Whether the first code follows the last one, as for hours of a day.
        date: Year, month and day that a part of a date determines together with the
            parts before it, where these have code 0; () if it is none.
        date_distances: How many places before this variable the year, the month and
            the day stand: 0 for itself, -1 for what is constant; () if it is none.
        marginal_weight: Weight of the marginal distribution of its codes, atoms or
            leaves, with which the conditional one is mixed except in training; see
            `ar_models.distributions.marginal_mixing`. Only up to `MAX_ONE_HOT` codes.
    """

    name: str
    kind: Kind
    group: int
    size: int = 0
    parent: int | None = None
    parent_code: int = 0
    at_least: bool = False
    location: float = 0.0
    scale: float = 1.0
    lower: float | None = None
    upper: float | None = None
    atoms: tuple[float, ...] = ()
    frequencies: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    tails: tuple[float, ...] = ()
    column: int | None = None
    place: int | None = None
    cyclic: bool = False
    date: tuple[int, ...] = ()
    date_distances: tuple[int, ...] = ()
    marginal_weight: float = 0.0

    @property
    def column_index(self) -> int:
        """Number of the column that it is a part of."""
        return self.group if self.column is None else self.column

    def initial_frequencies(self, outcomes: int) -> list[float]:
        """Return positive frequencies of outcomes, equal ones if none are known.

        Raises:
            ValueError: There are not as many frequencies as outcomes.
        """
        frequencies = list(self.frequencies) or [1 / outcomes] * outcomes
        if len(frequencies) != outcomes:
            raise ValueError(
                f"{self.name}: {outcomes} frequencies are needed, "
                f"got {len(frequencies)}"
            )
        return [max(frequency, MIN_FREQUENCY) for frequency in frequencies]

    def is_present(self, parent: Tensor) -> Tensor:
        """Return where the variable is present, given values (batch,) of its parent."""
        if self.at_least:
            return parent >= self.parent_code
        return parent == self.parent_code

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict for `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Variable:
        """Return the variable that `to_dict` was called on."""
        arguments: dict[str, Any] = {  # JSON knows lists, a frozen class wants tuples
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        return cls(**arguments)


def binary_variables(dim: int) -> tuple[Variable, ...]:
    """Return `dim` binary variables in groups of their own, as for binarized images."""
    return tuple(Variable(f"x{i}", "binary", group=i, size=2) for i in range(dim))


def apply_given(
    variable: Variable, drawn: Tensor, given: Tensor | None, x: Tensor
) -> Tensor:
    """Replace samples by given values, and by NaN where the parent excludes a value.

    Args:
        variable: The variable.
        drawn: Samples of the variable, (batch,).
        given: Known values, (batch,), NaN where free. None: free everywhere.
        x: All variables (batch, dim), complete at least up to this one.
    """
    value = drawn if given is None else drawn.where(given.isnan(), given)
    if variable.parent is None:
        return value
    present = variable.is_present(x[:, variable.parent])
    return value.masked_fill(~present, math.nan)


def check_variables(variables: Sequence[Variable]) -> None:
    """Raise ValueError if variables contradict themselves or each other."""
    if not variables:
        raise ValueError("a model needs at least one variable, got none")
    names = [v.name for v in variables]
    if len(set(names)) < len(names):
        raise ValueError(f"variable names must be unique, got {names!r}")
    for i, v in enumerate(variables):
        if v.kind == "categorical" and v.size < 1:
            raise ValueError(f"{v.name}: size must be at least 1, got {v.size}")
        if v.scale <= 0:
            raise ValueError(f"{v.name}: scale must be positive, got {v.scale}")
        if v.parent is not None and not (
            0 <= v.parent < i and variables[v.parent].group == v.group
        ):
            raise ValueError(
                f"{v.name}: its parent must stand before it in the same group, "
                f"got {v.parent}"
            )
