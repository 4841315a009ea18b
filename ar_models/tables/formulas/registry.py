"""The kinds of formulas, and formulas from their JSON form."""

from collections.abc import Mapping
from typing import Any

from ar_models.tables.formulas.annuity import AnnuityFormula
from ar_models.tables.formulas.arithmetic import (
    ExponentialFormula,
    Factor,
    LinearFormula,
    ProductFormula,
)
from ar_models.tables.formulas.clock import ClockFormula
from ar_models.tables.formulas.date_part import DatePart
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.formulas.integer_division import (
    QuotientFormula,
    RemainderFormula,
)
from ar_models.tables.formulas.lookup_formula import LookupFormula
from ar_models.tables.formulas.prefix import PrefixFormula

FORMULAS: dict[str, type[Any]] = {
    formula.kind: formula
    for formula in (
        Equality,
        LinearFormula,
        ProductFormula,
        ExponentialFormula,
        AnnuityFormula,
        QuotientFormula,
        RemainderFormula,
        ClockFormula,
        DatePart,
        PrefixFormula,
        LookupFormula,
    )
}
"""Classes of formulas by kind."""


def formula_from_dict(fields: Mapping[str, Any]) -> Formula:
    """Return the formula that `Formula.to_dict` described."""
    content = {name: _tuples(v) for name, v in fields.items() if name != "kind"}
    if "factors" in fields:
        content["factors"] = tuple(
            Factor(**{name: _tuples(v) for name, v in factor.items()})
            for factor in fields["factors"]
        )
    formula: Formula = FORMULAS[fields["kind"]](**content)
    return formula


def _tuples(value: Any) -> Any:  # any JSON value
    """Replace lists by tuples, at all levels."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
