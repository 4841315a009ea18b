"""Arithmetic expressions of column names, parsed into sums and products.

`fare + tip + tolls`, `0.19 * net`, `200 * z / (x + y)`, `qty * price - discount`,
`2 * exp(0.1 * years)`, `time // 100` and `time % 100` are expressions. Names with other
characters than letters, digits and underscores stand in backticks.
"""

import ast
import math
import re
from dataclasses import dataclass, field

QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Sum:
    """A sum of multiples of products of columns, and a constant.

    Attributes:
        terms: Coefficient of each product, by the names of its columns.
        constant: The constant.
    """

    terms: dict[tuple[str, ...], float] = field(default_factory=dict)
    constant: float = 0.0

    @property
    def is_number(self) -> bool:
        """Return whether the sum is a constant, without columns."""
        return not self.terms

    @property
    def column(self) -> str | None:
        """Name of the column that it is, or None."""
        names = next(iter(self.terms), ())
        is_plain = self.terms == {names: 1.0} and not self.constant
        return names[0] if is_plain and len(names) == 1 else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, without repetitions."""
        return tuple(dict.fromkeys(name for names in self.terms for name in names))

    def linear(self) -> tuple[tuple[str, float], ...]:
        """Return the terms of single columns."""
        return tuple((n[0], c) for n, c in self.terms.items() if len(n) == 1)

    def products(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        """Return the terms of several columns."""
        return tuple((n, c) for n, c in self.terms.items() if len(n) > 1)

    def plus(self, other: "Sum", sign: float) -> "Sum":
        """Return the sum of both, or the difference if the sign is -1."""
        terms = dict(self.terms)
        for names, coefficient in other.terms.items():
            terms[names] = terms.get(names, 0.0) + sign * coefficient
        terms = {names: c for names, c in terms.items() if c}
        return Sum(terms, self.constant + sign * other.constant)

    def times(self, factor: float) -> "Sum":
        """Return a multiple."""
        scaled = {names: factor * c for names, c in self.terms.items() if factor}
        return Sum(scaled, factor * self.constant)


@dataclass(frozen=True)
class Product:
    """A constant times powers of sums.

    Attributes:
        factors: The sums and their exponents.
        constant: The constant.
    """

    factors: tuple[tuple[Sum, float], ...]
    constant: float = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, without repetitions."""
        named = [name for base, _ in self.factors for name in base.columns]
        return tuple(dict.fromkeys(named))

    def power(self, exponent: float) -> "Product":
        """Return a power."""
        powers = tuple((base, power * exponent) for base, power in self.factors)
        return Product(powers, self.constant**exponent)


@dataclass(frozen=True)
class Exponential:
    """A constant times the exponential of a sum of columns.

    Attributes:
        terms: Columns and their coefficients.
        constant: The constant.
    """

    terms: tuple[tuple[str, float], ...]
    constant: float = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""
        return tuple(name for name, _ in self.terms)


@dataclass(frozen=True)
class Division:
    """The integer division of a column by a constant.

    Attributes:
        column: Name of the column.
        divisor: The constant.
        is_remainder: Whether the remainder is meant, not the quotient.
    """

    column: str
    divisor: float
    is_remainder: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of its column."""
        return (self.column,)


Value = Sum | Product | Exponential
Expression = Value | Division


def parse_expression(text: str) -> Expression:
    """Parse an arithmetic expression of columns.

    Raises:
        ValueError: The text is not an expression that a formula can express; the
            message says which part of it.
    """
    names: list[str] = []

    def placeholder(match: re.Match[str]) -> str:
        names.append(match.group(1))
        return f"_quoted_{len(names) - 1}_"

    try:
        tree = ast.parse(QUOTED.sub(placeholder, text.strip()), mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            f"{text!r} is not an arithmetic expression of columns ({error.msg}); write "
            "one such as fare + tip, with unusual names in backticks"
        ) from error
    parsed = _Parser(text, names).expression(tree)
    if not parsed.columns:
        raise ValueError(f"{text!r} names no column; write one such as fare + tip")
    return parsed


class _Parser:
    """Converts the syntax tree of one expression.

    Attributes:
        text: The expression.
        names: Names that stood in backticks, by number.
    """

    def __init__(self, text: str, names: list[str]) -> None:
        self.text = text
        self.names = names

    def expression(self, tree: ast.expr) -> Expression:
        """Return what the whole expression is."""
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.FloorDiv | ast.Mod):
            divisor = self.value(tree.right)
            if not isinstance(tree.left, ast.Name) or not _is_number(divisor):
                raise self.refusal(tree, "divide one column by a number")
            assert isinstance(divisor, Sum)
            if divisor.constant <= 0:
                raise self.refusal(tree, "divide by a positive number")
            remainder = isinstance(tree.op, ast.Mod)
            return Division(self.name(tree.left), divisor.constant, remainder)
        return self.value(tree)

    def name(self, tree: ast.Name) -> str:
        """Return the name of a column."""
        quoted = re.fullmatch(r"_quoted_(\d+)_", tree.id)
        return self.names[int(quoted.group(1))] if quoted else tree.id

    def value(self, tree: ast.expr) -> Value:
        """Return the sum or product that an expression is."""
        if isinstance(tree, ast.Name):
            return Sum({(self.name(tree),): 1.0})
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float):
            return Sum(constant=float(tree.value))
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
            sign = -1.0 if isinstance(tree.op, ast.USub) else 1.0
            return self.scaled(self.value(tree.operand), sign)
        if isinstance(tree, ast.Call):
            return self.exponential(tree)
        if isinstance(tree, ast.BinOp):
            return self.operation(tree)
        raise self.refusal(tree, "use + - * / ** // % with columns and numbers")

    def exponential(self, tree: ast.Call) -> Exponential:
        """Return what a call of `exp` is."""
        plain = isinstance(tree.func, ast.Name) and len(tree.args) == 1
        if not plain or ast.unparse(tree.func) != "exp" or tree.keywords:
            raise self.refusal(tree, "the only function is exp, of a sum of columns")
        inside = self.value(tree.args[0])
        if not isinstance(inside, Sum) or inside.products():
            raise self.refusal(tree, "use exp of a sum of multiples of columns")
        return Exponential(inside.linear(), math.exp(inside.constant))

    def operation(self, tree: ast.BinOp) -> Value:
        """Return what an operation of two values is."""
        left, right = self.value(tree.left), self.value(tree.right)
        if isinstance(tree.op, ast.Add | ast.Sub):
            a, b = self.sum_of(tree, left), self.sum_of(tree, right)
            return a.plus(b, -1.0 if isinstance(tree.op, ast.Sub) else 1.0)
        if isinstance(tree.op, ast.Pow):
            if not _is_number(right):
                raise self.refusal(tree, "use a number as the exponent")
            assert isinstance(right, Sum)
            return self.product_of(tree, left).power(right.constant)
        if isinstance(tree.op, ast.Div) and _is_number(right):
            assert isinstance(right, Sum)
            if right.constant == 0:
                raise self.refusal(tree, "do not divide by 0")
            return self.scaled(left, 1 / right.constant)
        for number, other in ((left, right), (right, left)):
            if isinstance(tree.op, ast.Mult) and _is_number(number):
                assert isinstance(number, Sum)
                return self.scaled(other, number.constant)
        if isinstance(tree.op, ast.Mult | ast.Div):
            above, below = self.product_of(tree, left), self.product_of(tree, right)
            below = below.power(-1.0) if isinstance(tree.op, ast.Div) else below
            return Product(
                above.factors + below.factors, above.constant * below.constant
            )
        raise self.refusal(tree, "use + - * / ** // % with columns and numbers")

    def scaled(self, value: Value, factor: float) -> Value:
        """Return a multiple of a value."""
        if isinstance(value, Sum):
            return value.times(factor)
        if isinstance(value, Exponential):
            return Exponential(value.terms, factor * value.constant)
        return Product(value.factors, factor * value.constant)

    def sum_of(self, tree: ast.expr, value: Value) -> Sum:
        """Return a value as a sum: a product of plain columns is a term of one."""
        if isinstance(value, Sum):
            return value
        if isinstance(value, Exponential):
            raise self.refusal(tree, "add columns and products of columns only")
        names: list[str] = []
        for base, power in value.factors:
            plain = len(base.terms) == 1 and not base.constant and power == 1
            if not plain or next(iter(base.terms.values())) != 1:
                raise self.refusal(tree, "add columns and products of columns only")
            names += next(iter(base.terms))
        return Sum({tuple(sorted(names)): value.constant})

    def product_of(self, tree: ast.expr, value: Value) -> Product:
        """Return a value as a product."""
        if isinstance(value, Product):
            return value
        if isinstance(value, Exponential):
            raise self.refusal(tree, "multiply exp by numbers only")
        if any(len(names) > 1 for names in value.terms):
            raise self.refusal(tree, "multiply sums of columns only")
        if value.is_number:
            return Product((), value.constant)
        return Product(((value, 1.0),))

    def refusal(self, tree: ast.expr, remedy: str) -> ValueError:
        """Return the error for a part of the expression."""
        part = ast.unparse(tree)
        for number, name in enumerate(self.names):
            part = part.replace(f"_quoted_{number}_", f"`{name}`")
        return ValueError(f"{self.text!r}: {part!r} is not a formula; {remedy}")


def _is_number(value: Value) -> bool:
    """Return whether a value is a constant."""
    return isinstance(value, Sum) and value.is_number
