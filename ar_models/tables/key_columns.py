"""Columns of keys and other values that are not modelled, made anew for samples."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow, schema_text, text_pattern
from ar_models.tables.key_styles import KeyStyle
from ar_models.tables.text_pattern import ALPHABETS, Pattern, Segment, scatter

MIN_KEYS = 20
"""Number of different values below which a column with repetitions holds no keys."""

MAX_EXACT_REAL = 2**53
"""Greatest number up to which reals hold every whole number."""

_HEX = ALPHABETS["0-9a-f"]
_DASH = Segment("-", 1, 1)
UUID: Pattern = (
    Segment(_HEX, 8, 8),
    _DASH,
    Segment(_HEX, 4, 4),
    _DASH,
    Segment("4", 1, 1),
    Segment(_HEX, 3, 3),
    _DASH,
    Segment("89ab", 1, 1),
    Segment(_HEX, 3, 3),
    _DASH,
    Segment(_HEX, 12, 12),
)
"""Pattern of random UUIDs, version 4."""


@dataclass(frozen=True)
class KeyColumn:
    """A column that is not modelled, and what new values of it look like.

    Attributes:
        field: Arrow schema of the column alone, as `schema_text` writes it.
        place: Number of the column in the training table.
        rows: Number of training rows.
        missing: Number of nulls among them.
        distinct: Number of different values, estimated if there are many.
        is_unique: Whether all values differ.
        high: Greatest integer, in units of the type; None of other values.
        pattern: Pattern of the texts; None if they are irregular.
    """

    field: str
    place: int
    rows: int = 0
    missing: int = 0
    distinct: int = 0
    is_unique: bool = False
    high: int | None = None
    pattern: Pattern | None = None

    @property
    def arrow_field(self) -> pa.Field:
        """The Arrow field of the column."""
        return schema_text.from_text(self.field).field(0)

    @property
    def name(self) -> str:
        """Name of the column."""
        return str(self.arrow_field.name)

    @property
    def holds_keys(self) -> bool:
        """True if there are enough different values to identify rows or groups."""
        return self.is_unique or self.distinct >= MIN_KEYS

    def pattern_of(self, style: KeyStyle) -> Pattern | None:
        """Return the pattern of new texts or UUIDs, None if these are not made."""
        type = self.arrow_field.type
        family, inner = arrow.family(type), arrow.plain(type)
        if style == "null" or not self.holds_keys:
            return None
        if family == "bytes" and pa.types.is_fixed_size_binary(inner):
            return UUID if inner.byte_width == 16 else None
        if family != "text":
            return None
        numbers = (Segment(ALPHABETS["0-9"], 1, 1),)
        return {"pattern": self.pattern, "uuid": UUID, "sequence": numbers}[style]

    def makes_numbers(self, style: KeyStyle) -> bool:
        """Return whether new values are integers."""
        return style != "null" and self.holds_keys and self.high is not None

    def describe(self, style: KeyStyle) -> str:
        """Return the form of new values for the summary of a job."""
        pattern = self.pattern_of(style)
        if pattern is UUID:
            return "UUIDs"
        if self.makes_numbers(style) or (pattern and style == "sequence"):
            return "numbers"
        return text_pattern.describe(pattern) if pattern else "null"

    def new_values(
        self, style: KeyStyle, first: int, rows: int, total: int, seed: int
    ) -> pa.Array:
        """Return new values of some of the rows of a job.

        Values are unique where they were, and repeat as often as they did among as
        many rows as there were in training otherwise. There are as many nulls, too.

        Args:
            style: Form of the values.
            first: Number of the first row.
            rows: Number of rows.
            total: Number of rows of the job.
            seed: Random seed.
        """
        type = self.arrow_field.type
        own = zlib.crc32(self.name.encode()) + (seed % 2**31 << 32)
        numbers, count = np.arange(first, first + rows), max(total, first + rows)
        draws = np.random.default_rng(own).integers(2**62, size=2).tolist()
        share = scatter(numbers, draws[0]) / 2.0**63
        missing = share < self.missing / max(self.rows, 1)
        if not self.is_unique:
            count = max(self.distinct, 1)
            numbers = (scatter(numbers, draws[1]) % count).astype(np.int64)
        if self.makes_numbers(style):
            return self._integers(numbers, count, missing)
        pattern = self.pattern_of(style)
        if pattern is None:
            return pa.nulls(rows, type)
        if style == "sequence" and pattern is not UUID:
            return arrow.as_type(_masked((numbers + 1).astype(str), missing), type)
        wide = text_pattern.widened(pattern, count)
        texts = text_pattern.fill(wide, numbers, count, own)
        if arrow.family(type) == "bytes":
            hexadecimal = (str(text).replace("-", "") for text in texts)
            raw = [bytes.fromhex(text) for text in hexadecimal]
            array = pa.array(raw, pa.binary(16), mask=missing)
            return arrow.as_type(array, type)
        return arrow.as_type(_masked(texts, missing), type)

    def _integers(
        self, numbers: np.ndarray, count: int, missing: np.ndarray
    ) -> pa.Array:
        """Return integers after the greatest of the training rows, if they fit."""
        type = self.arrow_field.type
        inner = arrow.plain(type)
        top = 2**63 - 1  # also of uint64, whose units are shifted
        if pa.types.is_floating(inner):
            top = MAX_EXACT_REAL
        elif not pa.types.is_uint64(inner):
            top = int(np.iinfo(inner.to_pandas_dtype()).max)
        assert self.high is not None
        begin = min(self.high + 1, top - count + 1)
        return arrow.from_integers(numbers.astype(np.int64) + begin, missing, type)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict, from which `from_dict` makes an equal column."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "KeyColumn":
        """Return the column that `to_dict` described."""
        pattern = content["pattern"]
        if pattern is not None:
            pattern = tuple(Segment(**segment) for segment in pattern)
        return cls(**{**content, "pattern": pattern})


def _masked(texts: np.ndarray, missing: np.ndarray) -> pa.Array:
    """Return an array of texts with nulls."""
    return pa.array(texts.tolist(), pa.large_string(), mask=missing)


def with_new_keys(
    table: pa.Table,
    keys: Sequence[KeyColumn],
    style: KeyStyle,
    first: int,
    total: int,
    seed: int,
) -> pa.Table:
    """Return rows with new values of columns that they lack, in place.

    Args:
        table: Some of the rows of a job.
        keys: The columns, in the order of their places.
        style: Form of the values.
        first: Number of the first row.
        total: Number of rows of the job.
        seed: Random seed.
    """
    for key in keys:
        if key.name in table.column_names:
            continue
        array = key.new_values(style, first, table.num_rows, total, seed)
        field = key.arrow_field
        field = field.with_nullable(bool(field.nullable or array.null_count))
        place = min(key.place, table.num_columns)
        table = table.add_column(place, field, array)
    return table
