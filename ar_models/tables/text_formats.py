"""Dates, times and numbers that a file stores as text, as after a CSV import.

The field of such a column has the type of its values, and in its metadata the format in
which they are written: a format of `strftime`, or the name of a way to write numbers.
"""

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow

KEY = b"text_format"
"""Key of the format in the metadata of a field."""

DATES = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%Y%m%d",
)
TIMES = ("%H:%M:%S", "%H:%M")
CLOCKS = (" %H:%M:%S", "T%H:%M:%S", " %H:%M", "T%H:%M", "T%H:%M:%SZ")

FRACTION = re.compile(r"\.(\d{3}|\d{6}|\d{9})(?=Z?$)")
"""A fraction of a second at the end of a text."""

UNITS = {3: "ms", 6: "us", 9: "ns"}
"""Units of time by the number of digits of a fraction of a second."""

INTEGER, SHORTEST, REAL, DECIMAL = "integer", "shortest", "real", "decimal"
"""Ways to write numbers: whole, with as few digits as needed, the same with .0 for
whole numbers, and with a fixed number of decimals, as in decimal.2 and decimal,2."""

MAX_DECIMALS = 6
"""Greatest fixed number of decimals, from where on Arrow writes exponents."""

LEAST_VALUES = 10
"""Number of values from which a format is recognised."""

LEAST_NUMBERS = 3
"""Number of distinct values from which text is numbers; fewer are categories."""


def recognise(texts: Iterable[str]) -> tuple[str, pa.DataType] | None:
    """Return the format of texts and the type of what they say.

    All of them must come back letter by letter. Digits that all have one length, such
    as postcodes, remain text.

    Args:
        texts: Values of a column, without nulls.

    Returns:
        The format and the type, or None if they are plain text.
    """
    given = list(texts)
    distinct = sorted(set(given))
    if len(given) < LEAST_VALUES or not distinct or not re.search(r"\d", distinct[0]):
        return None
    array = pa.array(distinct, pa.string())
    best: tuple[float, str, pa.DataType] | None = None
    for format, type in _candidates(distinct):
        values = parse(array, format, type)
        if values.null_count or not render(values, format).equals(array):
            continue
        # Of 01/02/2024 both readings fit; that of the shorter time is the likelier.
        span = float(np.ptp(arrow.reals(_numbers(values)).values))
        if best is None or span < best[0]:
            best = span, format, type
    return None if best is None else best[1:]


def _candidates(distinct: list[str]) -> list[tuple[str, pa.DataType]]:
    """Return the formats that some distinct texts may have, with their types."""
    first = distinct[0]
    if re.search(r"\d[-/:]\d|\d\.\d+\.\d|^\d{8}$", first):
        fraction = FRACTION.search(first)
        unit = UNITS[len(fraction[1])] if fraction else "s"
        stamps = [f"{date}{clock}" for date in DATES for clock in CLOCKS]
        found = [
            *(
                (f, pa.timestamp(unit, "UTC" if f.endswith("Z") else None))
                for f in stamps
            )
        ]
        if not fraction:
            found += [(f, pa.date32()) for f in DATES]
            found += [(f, pa.time32("s")) for f in TIMES]
        return found
    if len(distinct) < LEAST_NUMBERS:
        return []
    decimals = re.fullmatch(rf"-?\d+([.,])(\d{{1,{MAX_DECIMALS}}})", first)
    if decimals:
        mark, places = decimals[1], len(decimals[2])
        fixed = f"{DECIMAL}{mark}{places}", pa.decimal128(18, places)
        return [fixed, (REAL, pa.float64()), (SHORTEST, pa.float64())]
    widths = {len(text) for text in distinct}
    if all(re.fullmatch(r"-?\d+", text) for text in distinct):
        return [(INTEGER, pa.int64())] if len(widths) > 1 or widths == {1} else []
    return [(SHORTEST, pa.float64()), (REAL, pa.float64())]


def _numbers(values: pa.Array) -> pa.Array:
    """Return dates, times and numbers as numbers."""
    if pa.types.is_temporal(values.type):
        return values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    return values


def parse(text: pa.Array, format: str, type: pa.DataType) -> pa.Array:
    """Convert text to a type; what does not have the format becomes null.

    Args:
        text: Text of any kind, also as a dictionary.
        format: The format.
        type: Type of the values.
    """
    words = arrow.words(text)
    assert words.words is not None  # of text there are always words
    known = _parse_words(words.words.cast(pa.string()), format, type)
    places = pa.array(words.values, pa.int32(), mask=words.missing)
    return known.take(places)


def _parse_words(words: pa.Array, format: str, type: pa.DataType) -> pa.Array:
    if not format.startswith("%"):
        return _parse_numbers(words, format, type)
    unit = type.unit if pa.types.is_timestamp(type) else "s"
    fraction = pa.nulls(len(words), pa.int64())
    if unit != "s":
        digits = pc.extract_regex(words, rf"\.(?P<f>\d{{{_digits(unit)}}})Z?$")
        fraction = pc.struct_field(digits, "f").cast(pa.int64())
        words = pc.replace_substring_regex(words, r"\.\d+(Z?)$", r"\1")
    moments = pc.strptime(words, format=format, unit="s", error_is_null=True)
    if pa.types.is_date(type):
        return moments.cast(pa.date32())
    if pa.types.is_time(type):
        return moments.cast(pa.time32("s"))
    if unit != "s":
        ticks = pc.multiply(moments.cast(pa.int64()), arrow.TICKS[unit])
        return pc.add(ticks, fraction).view(type)
    return moments.cast(pa.int64()).view(type)


def _digits(unit: str) -> int:
    return next(digits for digits, name in UNITS.items() if name == unit)


def _parse_numbers(words: pa.Array, format: str, type: pa.DataType) -> pa.Array:
    if format.startswith(f"{DECIMAL},"):
        words = pc.replace_substring(words, ",", ".")
    pattern = r"^-?\d{1,12}(\.\d*)?$" if pa.types.is_decimal(type) else r"^[-+.\deE]+$"
    pattern = r"^-?\d{1,18}$" if format == INTEGER else pattern
    known = pc.if_else(pc.match_substring_regex(words, pattern), words, None)
    if not pa.types.is_floating(type):
        try:
            return known.cast(type)
        except pa.ArrowInvalid:  # a text with more decimals
            pass
    return pa.array([_number(text) for text in known.to_pylist()], pa.float64()).cast(
        type, safe=False
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def render(values: pa.Array, format: str) -> pa.Array:
    """Convert values to text of a format; inverse of `parse`.

    Args:
        values: Dates, times, timestamps or numbers.
        format: The format.
    """
    if format.startswith("%"):
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("s"))
        elif pa.types.is_time(values.type):
            seconds = values.view(pa.int32()).cast(pa.int64())
            values = seconds.view(pa.timestamp("s"))
        return pc.strftime(values, format=format)
    if format == INTEGER:
        return values.cast(pa.string())
    if format.startswith(DECIMAL):
        text = values.cast(pa.string())
        return pc.replace_substring(text, ".", format[len(DECIMAL)])
    texts = [None if v is None else repr(v) for v in values.to_pylist()]
    if format == SHORTEST:
        texts = [None if t is None else t.removesuffix(".0") for t in texts]
    return pa.array(texts, pa.string())


def format_of(field: pa.Field) -> str | None:
    """Return the format in which the values of a field are written as text, if any."""
    found = (field.metadata or {}).get(KEY)
    return None if found is None else found.decode()


def with_format(field: pa.Field, format: str, type: pa.DataType) -> pa.Field:
    """Return the field of a column of text as that of the values that it says."""
    metadata = {**(field.metadata or {}), KEY: format.encode()}
    return field.with_type(type).with_metadata(metadata)


def with_formats(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table whose fields have the metadata of those of a schema."""
    known = {f.name: f.metadata for f in schema if f.metadata}
    fields = [f.with_metadata(known.get(f.name, f.metadata)) for f in table.schema]
    return table.cast(pa.schema(fields)) if known else table


def as_written(table: pa.Table) -> pa.Table:
    """Return a table with text in the columns whose fields have a format."""
    for place, field in enumerate(table.schema):
        format = format_of(field)
        if format is not None and arrow.family(field.type) != "text":
            parts = [render(chunk, format) for chunk in table.column(place).chunks]
            text = pa.chunked_array(parts, pa.string())
            rest = {k: v for k, v in (field.metadata or {}).items() if k != KEY}
            plain = pa.field(field.name, pa.string(), field.nullable, rest or None)
            table = table.set_column(place, plain, text)
    return table


def as_modelled(array: pa.Array | pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Return the values of text that a field has a format for, else the array."""
    format = format_of(field)
    if format is None or arrow.family(array.type) != "text":
        return array
    return parse(array, format, field.type)
