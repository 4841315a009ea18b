"""Categorical columns that decode no rare value, so that samples reveal none."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import Column
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.list_cells import SYMBOL, element_types
from ar_models.tables.list_column import ListColumn

GUARDED = ("text", "bytes", "integer")
"""Families of Arrow types whose rare categories may point to a person."""


@dataclass(frozen=True)
class FrequentCodeColumn(CodeColumn):
    """A categorical column that decodes rare values to frequent ones, or to null.

    A frequent value replaces a rare one with the probability that it has among the
    frequent values. Where most training rows hold rare values, the column is free text
    and the cell becomes null.

    Attributes:
        least: Number of training rows from which a value is frequent.
    """

    least: int = 1

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        counts = value_counts(self)
        rare = counts < self.least
        codes = np.nan_to_num(x[:, 0], nan=-2).astype(np.int64)
        hidden = np.isin(codes, [*np.flatnonzero(rare), self.code("rare")])
        hidden &= codes >= 0
        drawn = np.full(int(hidden.sum()), np.nan)
        frequent = np.where(rare, 0.0, counts)
        nulls = special_count(self, "missing")
        if frequent.sum() and frequent.sum() >= (self.rows - nulls) / 2:
            shares = frequent / frequent.sum()
            drawn = rng.choice(len(counts), len(drawn), p=shares).astype(float)
        x = x.copy()
        x[hidden, 0] = drawn
        return super().decode(x, type, rng)


def value_counts(column: CodeColumn) -> np.ndarray:
    """Return the number of training rows of each value of a column, (values,)."""
    return _code_counts(column)[: len(column.values)]


def special_count(column: CodeColumn, special: str) -> float:
    """Return the number of training rows of a special value, such as missing."""
    code = column.code(special)
    return float(_code_counts(column)[code]) if code >= 0 else 0.0


def _code_counts(column: CodeColumn) -> np.ndarray:
    """Return the number of training rows of each code of a column."""
    shares = np.asarray(column.variables[0].frequencies)
    if not len(shares):  # a variable that was not fitted to rows
        return np.full(column.variables[0].size, float(column.rows))
    # The shares were smoothed by half a row for each code.
    return np.rint(shares * (column.rows + len(shares) / 2) - 0.5)


def without_rare_values(encoder: TableEncoder, least: int) -> TableEncoder:
    """Return an encoder that decodes no value of fewer than `least` training rows.

    It concerns categories that are text, bytes or integers, also in lists, and encodes
    every row as before.
    """
    if least <= 1:
        return encoder
    columns = tuple(
        _guarded(column, encoder.type_of(j), least)
        for j, column in enumerate(encoder.columns)
    )
    return TableEncoder(
        columns,
        encoder.left_out,
        encoder.schema,
        encoder.images,
        encoder.carried,
        encoder.written,
        encoder.wide,
        encoder.keys,
    ).with_inequalities(encoder.inequalities)


def _guarded(column: Column, type: pa.DataType, least: int) -> Column:
    """Return a column that decodes no rare value."""
    if isinstance(column, DerivedColumn):
        plain = _guarded(column.plain_column, type, least)
        return replace(column, plain_column=plain)
    if isinstance(column, ListColumn):
        types = element_types(type) or {}
        inner = zip(column.elements, types.values(), strict=True)
        elements = tuple(
            element if of == SYMBOL else _guarded(element, of, least)
            for element, of in inner
        )
        return replace(column, elements=elements)
    is_guarded = (
        isinstance(column, CodeColumn)
        and column.kind == "categorical"
        and arrow.family(type) in GUARDED
    )
    if not is_guarded:
        return column
    known = {f.name: getattr(column, f.name) for f in fields(CodeColumn)}
    return FrequentCodeColumn(**known, least=least)


def count_few(
    encoder: TableEncoder, table: pa.Table, least: int
) -> tuple[dict[str, int], int | None]:
    """Return how many cells of a table share their category with few training rows.

    Args:
        encoder: Encoder of the model, which decodes rare values or not.
        table: Rows with columns of the encoder, such as synthetic ones.
        least: Number of training rows that are not few.

    Returns:
        The number of cells by column, where there are any; and the least number of
        training rows of a category in the table, None if it has no categories.
    """
    cells, fewest = {}, list[int]()
    for j, column in enumerate(encoder.columns):
        plain, type = column.plain, encoder.type_of(j)
        if not isinstance(plain, CodeColumn) or arrow.family(type) not in GUARDED:
            continue
        whole = replace(
            plain,
            values=plain.values + plain.rare,
            specials=("rare",),  # which values that were not stored are, too
            rare=(),
            rare_counts=(),
        )
        given = table.column(column.name).drop_null()
        codes = whole.encode(given, type).x[:, 0].astype(np.int64)
        if not len(codes):
            continue
        counts = np.concatenate([value_counts(plain), plain.rare_counts, [1.0]])
        found = counts[codes]
        fewest.append(int(found.min()))
        if (few := int((found < least).sum())) > 0:
            cells[column.name] = few
    return cells, min(fewest, default=None)
