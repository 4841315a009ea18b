"""Configuration of the constraints between the columns of a dataset."""

import zoneinfo
from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from ar_models.tables.formulas.choices import Part, Rounding
from tasks.config.expressions import parse_expression
from tasks.config.section import Section

KINDS = ("equals", "function_of", "part", "prefix_of")
"""Keys of which a constraint has exactly one."""


class ConstraintConfig(Section):
    """A formula that gives the cells of a column in nearly all rows.

    One of the keys equals, function_of, part and prefix_of says which.
    """

    column: str
    """Column that the others determine."""

    equals: str | None = None
    """Arithmetic expression of columns, such as fare + tip, 0.19 * net,
    200 * z / (x + y) or time // 100. Its value is rounded to the decimals of the
    column."""

    constant_by: str | None = None
    """Column whose value selects a constant that is added to the expression; prepare
    learns the constants."""

    clock: bool = False
    """Add minutes to clock times written as hhmm, modulo 24 hours."""

    rounding: Rounding = "half_up"
    """Rounding of the expression; floor rounds down."""

    function_of: tuple[str, ...] = Field((), max_length=2)
    """One or two columns that determine the column by a table, which prepare learns."""

    part: Part | None = None
    """Part of the date or timestamp in the column named by `of`."""

    of: str | None = None
    """Column of dates or timestamps."""

    zone: str | None = None
    """Time zone of the part, such as Europe/Berlin; default: that of the column."""

    prefix_of: str | None = None
    """Column of text whose first characters the column holds."""

    length: PositiveInt | None = None
    """Number of characters of the prefix."""

    @field_validator("function_of", mode="before")
    @classmethod
    def _one_or_two(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in zoneinfo.available_timezones():
            raise ValueError(
                f"{value!r} is not a time zone of the IANA database; write one such as "
                "Europe/Berlin"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(
                f"the constraint of {self.column!r} needs exactly one of "
                f"{', '.join(KINDS)}, got {', '.join(given) or 'none'}"
            )
        needed = {"part": self.of, "prefix_of": self.length}
        if given[0] in needed and needed[given[0]] is None:
            key = {"part": "of", "prefix_of": "length"}[given[0]]
            raise ValueError(f"the constraint of {self.column!r} needs {key} as well")
        if self.equals is not None:
            parse_expression(self.equals)
        elif self.constant_by is not None or self.clock:
            raise ValueError(
                f"the constraint of {self.column!r}: constant_by and clock belong to "
                "equals"
            )
        if self.column in self.parents:
            raise ValueError(
                f"the constraint of {self.column!r} computes the column from itself"
            )
        return self

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the columns that the constraint computes with."""
        names = [*self.function_of, self.constant_by, self.of, self.prefix_of]
        if self.equals is not None:
            names += parse_expression(self.equals).columns
        return tuple(name for name in names if name)


class ConstraintsConfig(Section):
    """Constraints between columns; none, auto or a list of constraints is short for it.

    auto finds the constraints that hold in nearly all rows; none uses none, and a list
    uses the listed ones only.
    """

    discover: bool = True
    """Search the training rows for constraints."""

    add: tuple[ConstraintConfig, ...] = ()
    """Constraints besides those that are found. Several of one column are tried in
    their order."""

    ignore: tuple[str, ...] = ()
    """Columns for which no constraint is looked for."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:  # whatever the file holds
        if value == "auto":
            return {}
        if value == "none":
            return {"discover": False}
        if isinstance(value, list | tuple):
            return {"discover": False, "add": value}
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        parents: dict[str, set[str]] = {}
        for constraint in self.add:
            parents.setdefault(constraint.column, set()).update(constraint.parents)
        for column in parents:
            if column in _reached(column, parents):
                raise ValueError(
                    f"the constraints compute {column!r} from itself by way of other "
                    "columns; leave out one of them"
                )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that are named."""
        named = [n for c in self.add for n in (c.column, *c.parents)]
        return tuple(dict.fromkeys([*named, *self.ignore]))


def _reached(column: str, parents: dict[str, set[str]]) -> set[str]:
    """Return the columns that a column is computed from, directly or not."""

    def walk(name: str, seen: set[str]) -> Iterator[str]:
        for parent in parents.get(name, ()):
            if parent not in seen:
                seen.add(parent)
                yield parent
                yield from walk(parent, seen)

    return set(walk(column, set()))
