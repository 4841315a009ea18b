import math

import pytest

from tasks.config.expressions import (
    Division,
    Exponential,
    Product,
    Sum,
    parse_expression,
)


def computed(text: str, cells: dict[str, float]) -> float:
    """Compute an expression from the numbers of its columns."""
    parsed = parse_expression(text)
    if isinstance(parsed, Division):
        pair = divmod(cells[parsed.column], parsed.divisor)
        return pair[parsed.is_remainder]
    if isinstance(parsed, Exponential):
        exponent = sum(c * cells[name] for name, c in parsed.terms)
        return parsed.constant * math.exp(exponent)
    if isinstance(parsed, Product):
        total = parsed.constant
        for base, power in parsed.factors:
            total *= sum_of(base, cells) ** power
        return total
    return sum_of(parsed, cells)


def sum_of(parsed: Sum, cells: dict[str, float]) -> float:
    """Compute a sum from the numbers of its columns."""
    total = parsed.constant
    for names, coefficient in parsed.terms.items():
        for name in names:
            coefficient *= cells[name]
        total += coefficient
    return total


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 6),
        ("a + b - 1", 7),
        ("-(a - 2 * b) / 4", -0.5),
        ("a * b - b + 3", 13),
        ("200 * b / (a - b)", 100),
        ("a / b ** 2", 1.5),
        ("(a + b) * (a - b)", 32),
        ("`unit price` * a", 3),
        ("a // 4", 1),
        ("a % 4", 2),
        ("0.5 * 4 * a", 12),
        ("a + b - a", 2),
        ("3 * exp(b - a / 2 + 1) / 2", 1.5),
    ],
)
def test_expressions_are_computed_as_python_would(text: str, value: float) -> None:
    cells = {"a": 6.0, "b": 2.0, "unit price": 0.5}
    assert computed(text, cells) == pytest.approx(value)


def test_columns_are_named_once() -> None:
    assert parse_expression("a * b + a / 2").columns == ("a", "b")
    assert parse_expression("a / (a + `c d`)").columns == ("a", "c d")
    assert parse_expression("time // 100").columns == ("time",)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a +", "is not an arithmetic expression"),
        ("max(a, b)", r"'max\(a, b\)' is not a formula"),
        ("exp(a * b)", "use exp of a sum of multiples of columns"),
        ("a * exp(b)", "multiply exp by numbers only"),
        ("1 + exp(b)", "add columns and products of columns only"),
        ("a / b + 1", "add columns and products of columns only"),
        ("a ** b", "use a number as the exponent"),
        ("(a + b) // 2", "divide one column by a number"),
        ("3", "names no column"),
        ("a - a", "names no column"),
        ("a // 0", "divide by a positive number"),
        ("a / 0", "do not divide by 0"),
        ("(a * b + 1) * a", "multiply sums of columns only"),
        ("`unit price` and a", "`unit price` and a"),
    ],
)
def test_what_no_formula_expresses_is_refused_with_the_part_at_fault(
    text: str, part: str
) -> None:
    with pytest.raises(ValueError, match=part):
        parse_expression(text)
