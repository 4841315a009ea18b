"""The classes of columns by their form, and columns from their JSON form."""

from collections.abc import Mapping
from typing import Any

from ar_models.tables.calendar_column import CalendarColumn
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import Column
from ar_models.tables.derived_column import Candidate, DerivedColumn
from ar_models.tables.formulas.registry import formula_from_dict
from ar_models.tables.list_column import ListColumn
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable

FORMS: dict[str, type[Any]] = {
    form.form: form
    for form in (CodeColumn, NumberColumn, CalendarColumn, RealColumn, ListColumn)
}


def column_from_dict(fields: Mapping[str, Any]) -> Column:
    """Return the column that `Column.to_dict` described."""
    content = {k: v for k, v in fields.items() if k != "form"}
    content["variables"] = tuple(Variable.from_dict(v) for v in content["variables"])
    if fields["form"] == DerivedColumn.form:
        return _derived_column(content)
    if "elements" in content:
        content["elements"] = tuple(column_from_dict(e) for e in content["elements"])
    frozen = {
        k: tuple(tuple(i) if isinstance(i, list) else i for i in v)
        if isinstance(v, list)
        else v
        for k, v in content.items()
    }
    column: Column = FORMS[fields["form"]](**frozen)
    return column


def _derived_column(content: dict[str, Any]) -> DerivedColumn:
    """Return a derived column from its fields, of which the variables are ready."""
    candidates = tuple(
        Candidate(formula_from_dict(c["formula"]), c["matches"], c["first"])
        for c in content["candidates"]
    )
    plain = column_from_dict(content["plain_column"])
    return DerivedColumn(**{**content, "plain_column": plain, "candidates": candidates})
