"""What a model is told about the variables it models."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

Kind = Literal["binary", "categorical", "integer", "real"]

MAX_INTEGER = 2**23
"""Integers stand in float32 tensors, which hold every integer up to 2**24."""


@dataclass(frozen=True)
class Variable:
    """One factor of the chain rule, as it stands in a column of `x`.

    A batch `x` is a float32 tensor (batch, dim). A binary variable holds 0 or 1, a
    categorical one a code 0 … size - 1, an integer one the integer itself (at most
    `MAX_INTEGER` in size) and a real one its value. NaN says that the variable is
    absent from the row: its parent took another code, or its column escaped. An
    absent variable contributes a log-probability of exactly 0.

    Attributes:
        name: Unique within a model, such as `dep_delay` or `dep_delay.state`.
        kind: Which conditional it gets.
        group: Number of the block of variables that stays together and in this order
            in every ordering: a column of a table, or a place of an image.
        size: Number of codes of a binary (2) or categorical variable, else 0.
        parent: Index of the earlier variable of the same group that says whether this
            one is present, or None if it always is.
        parent_code: The code of `parent` with which this one is present.
        at_least: Whether it is present with all greater codes too, as of a length.
        location: Subtracted from integers and reals before a network sees them.
        scale: Divides them after that; a density counts it (-log scale).
        lower: Least integer that may occur; the mass below falls on it. None: no bound.
        upper: Greatest integer that may occur, likewise.
        atoms: Integers that get a probability of their own in the mixture.
        frequencies: Shares in the training data, from which biases start: of the codes,
            or of the atoms followed by the share of all other integers.
        knots: Ascending quantiles in the variable's own units: where the piecewise
            linear input features bend and where mixture components start.
        column: Number of the column that it is a part of; None: that of the group.
        place: Place in the list that the column's cell is, if it is one.
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
    column: int | None = None
    place: int | None = None

    @property
    def part_of(self) -> int:
        """Number of the column that it is a part of."""
        return self.group if self.column is None else self.column

    def present(self, parent: Tensor) -> Tensor:
        """Where the values (batch,) of its parent say that it is present, bool."""
        if self.at_least:
            return parent >= self.parent_code
        return parent == self.parent_code

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict from which `from_dict` makes an equal variable."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Variable":
        """The variable that `to_dict` described."""
        arguments: dict[str, Any] = {  # JSON knows lists, a frozen class wants tuples
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        return cls(**arguments)


def binary(dim: int) -> tuple[Variable, ...]:
    """`dim` binary variables in groups of their own, as for binarized images."""
    return tuple(Variable(f"x{i}", "binary", group=i, size=2) for i in range(dim))


def check(variables: Sequence[Variable]) -> None:
    """Raises ValueError where the variables contradict themselves."""
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
