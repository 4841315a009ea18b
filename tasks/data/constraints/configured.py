"""Formulas of the constraints that a configuration lists."""

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from ar_models.tables.formulas.arithmetic import (
    ExponentialFormula,
    Factor,
    LinearFormula,
    ProductFormula,
)
from ar_models.tables.formulas.date_part import DatePart
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.formulas.integer_division import (
    QuotientFormula,
    RemainderFormula,
)
from ar_models.tables.formulas.numbers import numbers
from ar_models.tables.formulas.prefix import PrefixFormula
from tasks.config.constraints import ConstraintConfig
from tasks.config.expressions import (
    Division,
    Exponential,
    Expression,
    Product,
    Sum,
    parse_expression,
)
from tasks.data.constraints.candidate import evaluate
from tasks.data.constraints.clocks import clock_formula
from tasks.data.constraints.dependencies import lookup_candidate
from tasks.data.constraints.linear import category_constants
from tasks.data.constraints.sample import Sample, SampledColumn


def configured_formulas(
    constraints: Iterable[ConstraintConfig], sample: Sample
) -> dict[str, tuple[Formula, ...]]:
    """Return the formulas of constraints, with what is learned from the sample.

    Args:
        constraints: The constraints, in the order in which those of a column are tried.
        sample: A sample of the training rows.

    Raises:
        ValueError: A constraint names a column that is not modelled, or one whose
            values the formula cannot compute.
    """
    found: dict[str, tuple[Formula, ...]] = {}
    for constraint in constraints:
        for name in (constraint.column, *constraint.parents):
            if name not in sample.columns:
                raise ValueError(
                    f"data.constraints: {name!r}, which the constraint of "
                    f"{constraint.column!r} names, is not modelled, or holds lists or "
                    "images; leave the constraint out"
                )
        formula = formula_of(constraint, sample)
        _check_fit(constraint.column, formula, sample)
        found[constraint.column] = (*found.get(constraint.column, ()), formula)
    return found


def _check_fit(column: str, formula: Formula, sample: Sample) -> None:
    """Refuse a formula that holds in no row, as one of other types does.

    Raises:
        ValueError: The formula gives no cell of the column.
    """
    types = [f"{n} ({sample.columns[n].type})" for n in (column, *formula.columns)]
    try:
        holds = bool(evaluate(sample, column, formula).matched.any())
    except (pa.ArrowException, TypeError):
        holds = False  # Arrow has no such function or conversion for the types.
    if not holds:
        raise ValueError(
            f"data.constraints: {column!r} equals {formula.describe()} in none of "
            f"{sample.rows:,} training rows; check the formula and the types of "
            f"{', '.join(types)}, or leave the constraint out"
        )


def formula_of(constraint: ConstraintConfig, sample: Sample) -> Formula:
    """Return the formula of one constraint."""
    target = sample.columns[constraint.column]
    if constraint.part is not None:
        assert constraint.of is not None
        return DatePart(constraint.of, constraint.part, constraint.zone)
    if constraint.prefix_of is not None:
        assert constraint.length is not None
        return PrefixFormula(constraint.prefix_of, constraint.length)
    if constraint.function_of:
        keys = [sample.columns[name] for name in constraint.function_of]
        candidate = lookup_candidate(sample, target, keys, certain=True)
        if candidate is None:
            raise ValueError(
                f"data.constraints: no value of {' and '.join(constraint.function_of)} "
                f"has the same {target.name!r} in most of its rows, or there are more "
                "than 10,000 values; leave the constraint out"
            )
        return candidate.formula
    assert constraint.equals is not None
    return _expression(constraint, parse_expression(constraint.equals), target, sample)


def _check_numbers(names: Iterable[str], sample: Sample) -> None:
    """Refuse columns without numbers.

    Raises:
        ValueError: A column holds other values.
    """
    for name in names:
        column = sample.columns[name]
        if column.values is None:
            raise ValueError(
                f"data.constraints: clock and constant_by need numbers, {name!r} has "
                f"the type {column.type}; leave the constraint out"
            )


def _expression(
    constraint: ConstraintConfig,
    expression: Expression,
    target: SampledColumn,
    sample: Sample,
) -> Formula:
    """Return the formula of an expression, rounded as the target is."""
    if isinstance(expression, Division):
        kind = RemainderFormula if expression.is_remainder else QuotientFormula
        return kind(expression.column, expression.divisor)
    decimals = target.decimals if target.values is not None else None
    rounding = constraint.rounding
    is_sum = isinstance(expression, Sum) and not expression.products()
    if (constraint.clock or constraint.constant_by) and not is_sum:
        raise ValueError(
            "data.constraints: clock and constant_by are for sums of columns, which "
            f"{constraint.equals!r} is not; remove them"
        )
    if constraint.clock or constraint.constant_by:
        _check_numbers([constraint.column, *expression.columns], sample)
    if isinstance(expression, Product):
        factors = tuple(
            Factor(base.linear(), power, base.constant)
            for base, power in expression.factors
        )
        return ProductFormula(factors, expression.constant, decimals, rounding)
    if isinstance(expression, Exponential):
        return ExponentialFormula(
            expression.terms, expression.constant, decimals, rounding
        )
    if constraint.clock:
        terms = [(sample.columns[name], sign) for name, sign in expression.linear()]
        return clock_formula(terms, expression.constant, target)
    formula = LinearFormula(
        expression.linear(),
        expression.constant,
        decimals=decimals,
        rounding=rounding,
        products=expression.products(),
    )
    if constraint.constant_by:
        category = sample.columns[constraint.constant_by]
        plain = replace(formula, decimals=None)
        values = numbers(plain.evaluate(sample.cells, pa.float64()))
        return category_constants(formula, target.numbers - values, target, category)
    return Equality(expression.column) if expression.column else formula
