"""Predicates about rows: a small part of SQL, evaluated on Arrow tables.

A predicate compares columns with values: `delay > 60 and carrier in ('UA', 'AA')`. It
has the operators = == != <> < <= > >=, `in`, `between`, `like`, `is null`, `and`, `or`,
`not` and parentheses. Texts stand in single quotes, names of columns with other
characters than letters, digits, `_` and `.` in double quotes. A comparison with null is
neither true nor false, and a row counts where the predicate is true.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Cells = Mapping[str, pa.Array]
Test = Callable[[Cells], pa.Array]
Literal = str | int | float | bool

TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<word>[^\W\d][\w.]*)
    | (?P<sign><=|>=|<>|!=|==|[=<>(),])
    )""",
    re.VERBOSE,
)
"""A token of a predicate."""

COMPARISONS: dict[str, Callable[..., pa.Array]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}

KEYWORDS = {"and", "or", "not", "in", "between", "like", "is", "null", "true", "false"}


@dataclass(frozen=True)
class Predicate:
    """A condition on the cells of a row.

    Attributes:
        columns: Names of the columns that it reads.
        test: Function from cells of these columns to bools, null where unknown.
        equals: The value that its only column must equal; None if it says other things.
    """

    columns: frozenset[str]
    test: Test
    equals: pa.Scalar | None = None

    def holds(self, cells: Cells) -> pa.Array:
        """Return the rows in which it is true, bool (n,) without nulls."""
        return self.test(cells).fill_null(False)


def parse(text: str, schema: pa.Schema) -> list[Predicate]:
    """Parse a predicate into the conditions that `and` joins; none if it is empty.

    Args:
        text: The predicate.
        schema: Names and types of the columns that it may read.

    Raises:
        ValueError: The text is not such a predicate, or a column or a value does not
            fit.
    """
    return _Parser(text, schema).parse() if text.strip() else []


def divided(text: str) -> tuple[str, str]:
    """Divide a question, `PREDICATE given PREDICATE`, into its two predicates.

    Args:
        text: The question; without `given`, the second predicate is empty.
    """
    place = 0
    while match := TOKEN.match(text, place):
        if (match.group("word") or "").lower() == "given":
            return text[: match.start("word")], text[match.end() :]
        place = match.end()
    return text, ""


class _Parser:
    """Parser by recursive descent of one predicate."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self.text, self.schema = text, schema
        self.tokens = list(self._tokens())
        self.place = 0

    def _tokens(self) -> Iterator[tuple[str, str, int]]:
        """Yield kind, content and place of each token."""
        place = 0
        while self.text[place:].strip():
            match = TOKEN.match(self.text, place)
            if match is None:
                start = place + len(self.text[place:]) - len(self.text[place:].lstrip())
                raise self.error(f"{self.text[start]!r} is not part of one", start)
            kind = str(match.lastgroup)
            content, start = match.group(kind), match.start(kind)
            if kind == "word" and content.lower() in KEYWORDS:
                kind, content = "keyword", content.lower()
            elif kind == "quoted":
                kind, content = "word", content[1:-1].replace('""', '"')
            yield kind, content, start
            place = match.end()

    def error(self, problem: str, place: int | None = None) -> ValueError:
        """Return the error for the current token, or a place of the text."""
        if place is None:
            place = (
                self.tokens[self.place][2]
                if self.place < len(self.tokens)
                else len(self.text)
            )
        return ValueError(
            f"predicate {self.text!r}, character {place + 1}: {problem}; write for "
            "example: delay > 60 and carrier in ('UA', 'AA')"
        )

    def parse(self) -> list[Predicate]:
        """Return the conditions of the whole text."""
        found = self.conjunction()
        if self.place < len(self.tokens):
            if self.peek("or"):
                self.place = 0
                return [self.disjunction()]
            raise self.error("expected `and`, `or` or the end")
        return found

    def peek(self, *contents: str) -> bool:
        """Return whether the next token is one of some signs or keywords."""
        if self.place == len(self.tokens):
            return False
        kind, content, _ = self.tokens[self.place]
        return kind in ("sign", "keyword") and content in contents

    def accept(self, *contents: str) -> bool:
        """Pass over the next token if it is one of some signs or keywords."""
        found = self.peek(*contents)
        self.place += found
        return found

    def expect(self, content: str) -> None:
        """Pass over a sign or keyword."""
        if not self.accept(content):
            raise self.error(f"expected {content!r}")

    def disjunction(self) -> Predicate:
        """Parse conditions that `or` joins."""
        found = _all(self.conjunction())
        while self.accept("or"):
            found = _joined(pc.or_kleene, found, _all(self.conjunction()))
        return found

    def conjunction(self) -> list[Predicate]:
        """Parse conditions that `and` joins."""
        found = self.factor()
        while self.accept("and"):
            found += self.factor()
        return found

    def factor(self) -> list[Predicate]:
        """Parse one condition, or several in parentheses."""
        if self.accept("not"):
            return [_negated(_all(self.factor()))]
        if self.accept("("):
            start = self.place
            found = self.conjunction()
            if self.peek("or"):
                self.place = start
                found = [self.disjunction()]
            self.expect(")")
            return found
        return [self.comparison()]

    def comparison(self) -> Predicate:
        """Parse a comparison of one column."""
        name = self.column()
        if self.accept("is"):
            negated = self.accept("not")
            self.expect("null")
            null = _of(name, lambda cells: pc.is_null(cells[name]))
            return _negated(null) if negated else null
        if self.place < len(self.tokens):
            content = self.tokens[self.place][1]
            if self.tokens[self.place][0] == "sign" and content in COMPARISONS:
                self.place += 1
                return self.compared(name, content)
        negated = self.accept("not")
        found = self.in_set(name)
        return _negated(found) if negated else found

    def compared(self, name: str, sign: str) -> Predicate:
        """Parse the value of a comparison."""
        value = self.value(name)
        compare = COMPARISONS[sign]
        equals = value if sign in ("=", "==") else None
        return _of(name, lambda cells: compare(cells[name], value), equals)

    def in_set(self, name: str) -> Predicate:
        """Parse `in`, `between` or `like`."""
        if self.accept("in"):
            self.expect("(")
            values = [self.value(name)]
            while self.accept(","):
                values.append(self.value(name))
            self.expect(")")
            options = pa.array([v.as_py() for v in values], values[0].type)

            def is_in(cells: Cells) -> pa.Array:
                found = pc.is_in(cells[name], value_set=options)
                return pc.if_else(pc.is_valid(cells[name]), found, None)

            return _of(name, is_in, values[0] if len(values) == 1 else None)
        if self.accept("between"):
            low = self.value(name)
            self.expect("and")
            high = self.value(name)
            return _of(
                name,
                lambda cells: pc.and_kleene(
                    pc.greater_equal(cells[name], low), pc.less_equal(cells[name], high)
                ),
            )
        if self.accept("like"):
            if not pa.types.is_string(self.schema.field(name).type):
                raise self.error(f"column {name!r} holds no text")
            pattern = self.value(name).as_py()
            return _of(name, lambda cells: pc.match_like(cells[name], pattern))
        raise self.error("expected a comparison")

    def column(self) -> str:
        """Parse the name of a column."""
        if self.place == len(self.tokens) or self.tokens[self.place][0] != "word":
            raise self.error("expected the name of a column")
        name = self.tokens[self.place][1]
        if name not in self.schema.names:
            raise self.error(
                f"column {name!r} is unknown or not modelled; columns are "
                f"{', '.join(self.schema.names)}"
            )
        self.place += 1
        return name

    def value(self, name: str) -> pa.Scalar:
        """Parse a value, and convert it to the type of a column."""
        if self.place == len(self.tokens):
            raise self.error("expected a value")
        kind, content, _ = self.tokens[self.place]
        if kind not in ("text", "number") and content not in ("true", "false"):
            raise self.error(
                "expected a number, a text in single quotes, true or false"
            )
        type = self.schema.field(name).type
        try:
            found = _converted(kind, content, type)
        except (
            pa.ArrowInvalid,
            pa.ArrowNotImplementedError,
            pa.ArrowTypeError,
        ) as error:
            raise self.error(
                f"column {name!r} is {type}, which {content} is not: {error}"
            ) from error
        self.place += 1
        return found


def _converted(kind: str, content: str, type: pa.DataType) -> pa.Scalar:
    """Return a value as a scalar that compares with cells of a type."""
    if kind == "number":
        number: Literal = float(content)
        if re.fullmatch(r"[-+]?\d+", content):
            number = int(content)
        if pa.types.is_decimal(type):
            return pa.scalar(content).cast(pa.string()).cast(type)
        if pa.types.is_integer(type) and isinstance(number, float):
            return pa.scalar(number)  # compared as floats, as in delay > 2.5
        if pa.types.is_string(type):
            raise pa.ArrowInvalid("a text stands in single quotes")
        return pa.scalar(number, type)
    if kind == "text":
        return pa.scalar(content[1:-1].replace("''", "'")).cast(type)
    return pa.scalar(content == "true", type)


def _of(name: str, test: Test, equals: Any = None) -> Predicate:
    """Return a predicate about one column."""
    return Predicate(frozenset([name]), test, equals)


def _negated(predicate: Predicate) -> Predicate:
    """Return the negation of a predicate."""
    return Predicate(predicate.columns, lambda cells: pc.invert(predicate.test(cells)))


def _joined(join: Callable[..., pa.Array], a: Predicate, b: Predicate) -> Predicate:
    """Join two predicates by a function of their truth values."""
    return Predicate(
        a.columns | b.columns, lambda cells: join(a.test(cells), b.test(cells))
    )


def _all(predicates: list[Predicate]) -> Predicate:
    """Join predicates by `and`."""
    found = predicates[0]
    for other in predicates[1:]:
        found = _joined(pc.and_kleene, found, other)
    return found
