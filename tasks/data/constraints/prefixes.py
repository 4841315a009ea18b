"""Columns that are the first characters of a column of text."""

from collections.abc import Iterator

import numpy as np

from ar_models.tables.formulas.prefix import PrefixFormula
from tasks.data.constraints.candidate import Candidate, evaluate, is_exact
from tasks.data.constraints.sample import Sample, SampledColumn

SCREENED_ROWS = 400
"""Number of rows in which prefixes are compared first."""

MAX_LENGTH = 64
"""Maximum number of characters of a prefix."""


def prefixes(sample: Sample) -> Iterator[Candidate]:
    """Find columns of text or of numbers that are the prefix of a text."""
    texts = [c for c in sample.columns.values() if c.is_text and c.distinct > 2]
    heads = {c.name: _texts(c) for c in sample.columns.values() if _is_short(c)}
    for parent in texts:
        words = heads[parent.name]
        for name, shown in heads.items():
            target = sample.columns[name]
            if target is parent or not 2 <= target.distinct < parent.distinct:
                continue
            length = _length(words, shown)
            if length is None:
                continue
            formula = PrefixFormula(parent.name, length)
            candidate = evaluate(sample, name, formula)
            if is_exact(candidate, target):
                yield candidate


def _is_short(column: SampledColumn) -> bool:
    """Return whether a column holds text or whole numbers."""
    return column.is_text or (column.is_plain_number and column.decimals == 0)


def _texts(column: SampledColumn) -> list[str | None]:
    """Return the first cells as text."""
    head = column.array.slice(0, SCREENED_ROWS)
    if column.is_text:
        return [None if v is None else str(v) for v in head.to_pylist()]
    values = column.numbers[:SCREENED_ROWS]
    return [None if np.isnan(v) else f"{v:.0f}" for v in values]


def _length(words: list[str | None], heads: list[str | None]) -> int | None:
    """Return the length of the prefix that most heads are, or None if they are not."""
    pairs = [
        (word, head)
        for word, head in zip(words, heads, strict=True)
        if word is not None and head is not None
    ]
    lengths = [len(head) for _, head in pairs]
    if not lengths:
        return None
    length = max(set(lengths), key=lengths.count)
    if not 0 < length <= MAX_LENGTH:
        return None
    equal = sum(word[:length] == head for word, head in pairs)
    return length if equal >= 0.95 * len(pairs) else None
