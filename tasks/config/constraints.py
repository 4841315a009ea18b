"""Configuration of the constraints between the columns of a dataset."""

import datetime
import re
import zoneinfo
from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from ar_models.tables.formulas.choices import Operator, Part, Rounding
from tasks.config.expressions import parse_expression
from tasks.config.section import Section

COMPARISONS: dict[str, Operator] = {
    "at_most": "<=",
    "below": "<",
    "at_least": ">=",
    "above": ">",
}
"""Keys of inequalities, with their comparisons."""

KINDS = ("equals", "function_of", "part", "prefix_of", *COMPARISONS)
"""Keys of which a constraint has exactly one."""

INEQUALITY = re.compile(r"(.+?) *(?:<=|>=|<|>) *(.+)")
"""An inequality between two columns as text, such as `start <= end`."""

Side = str | int | float | datetime.date | datetime.datetime
"""A column, or a number, date or timestamp that a column is compared with."""


class ConstraintConfig(Section):
    """A formula or an inequality that nearly all rows satisfy.

    The formula gives the cells of a column, by one of the keys equals, function_of,
    part and prefix_of; the inequality is one of at_most, below, at_least and above.
    """

    column: str
    """Column that the others determine, or that is compared."""

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

    at_most: Side | None = None
    """Column, number or date that the column does not exceed."""

    below: Side | None = None
    """Column, number or date that the column is less than."""

    at_least: Side | None = None
    """Column, number or date that the column does not fall below."""

    above: Side | None = None
    """Column, number or date that the column is greater than."""

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
        values = {kind: getattr(self, kind) for kind in KINDS}
        given = [kind for kind in KINDS if values[kind] not in (None, "", ())]
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
                f"the constraint of {self.column!r} "
                f"{'compares' if self.comparison else 'computes'} the column "
                f"{'with' if self.comparison else 'from'} itself"
            )
        return self

    @property
    def comparison(self) -> str | None:
        """Key of the inequality that the constraint is, or None."""
        return next((k for k in COMPARISONS if getattr(self, k) is not None), None)

    @property
    def side(self) -> Side | None:
        """Right-hand side of the inequality that the constraint is, or None."""
        return getattr(self, self.comparison) if self.comparison else None

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the columns that the constraint computes with."""
        names = [*self.function_of, self.constant_by, self.of, self.prefix_of]
        if isinstance(self.side, str):
            names.append(self.side)
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
    """Columns for which no constraint is looked for, and inequalities that are not
    used, such as start <= end."""

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
        for constraint in self.formulas:
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
        ignored = [name for text in self.ignore for name in _names(text)]
        return tuple(dict.fromkeys([*named, *ignored]))

    @property
    def formulas(self) -> tuple[ConstraintConfig, ...]:
        """The constraints to add that are formulas."""
        return tuple(each for each in self.add if not each.comparison)

    @property
    def inequalities(self) -> tuple[ConstraintConfig, ...]:
        """The constraints to add that are inequalities."""
        return tuple(each for each in self.add if each.comparison)


def _names(ignored: str) -> tuple[str, ...]:
    """Return the columns that an entry of `ignore` names: one, or two compared ones."""
    match = INEQUALITY.fullmatch(ignored)
    return match.groups() if match else (ignored,)


def _reached(column: str, parents: dict[str, set[str]]) -> set[str]:
    """Return the columns that a column is computed from, directly or not."""

    def walk(name: str, seen: set[str]) -> Iterator[str]:
        for parent in parents.get(name, ()):
            if parent not in seen:
                seen.add(parent)
                yield parent
                yield from walk(parent, seen)

    return set(walk(column, set()))
