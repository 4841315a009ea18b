"""The type that holds the values of columns whose types differ between files."""

from collections.abc import Callable, Mapping

import pyarrow as pa

from ar_models.tables import arrow

MAX_PRECISION = 38
"""Digits of the widest decimal of 128 bits."""

UTC_NAMES = ("UTC", "Etc/UTC", "GMT", "Z", "+00:00")
"""Time zones that are UTC."""

Rule = Callable[[pa.DataType, pa.DataType], pa.DataType | None]


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """Return the type that holds all values of two types of the same meaning.

    Types that differ only in encoding, width or unit have one: kinds of strings,
    dictionaries and their values, widths of numbers, units of time. Floats beside
    integers are integers of which some are null, as pandas writes them.

    Args:
        a: The first type, which is kept if `b` differs in encoding only.
        b: The second type.

    Returns:
        The type, or None if values would lose their meaning.
    """
    if pa.types.is_null(a) or a == b:
        return b
    plain_a, plain_b = arrow.plain(a), arrow.plain(b)
    if pa.types.is_null(b) or plain_a == plain_b:
        return a
    families = arrow.family(a), arrow.family(b)
    if set(families) == {"integer", "real"}:
        whole = plain_a if families[0] == "integer" else plain_b
        return pa.uint64() if pa.types.is_uint64(whole) else pa.int64()
    if families[0] is None and families[1] is None:
        return _nested(plain_a, plain_b)
    if families[0] is None or families[0] != families[1]:
        return None
    rule = _RULES.get(families[0])
    return None if rule is None else rule(plain_a, plain_b)


def _integer(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """Return the wider type, a signed one if one of them is."""
    signed = [t for t in (a, b) if pa.types.is_signed_integer(t)]
    unsigned = [t for t in (a, b) if pa.types.is_unsigned_integer(t)]
    if not signed or not unsigned:
        return max(a, b, key=lambda type: int(type.bit_width))
    needed = max(signed[0].bit_width, 2 * unsigned[0].bit_width)
    if needed > 64:
        return None
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[needed]


def _real(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    return max(a, b, key=lambda type: int(type.bit_width))


def _decimal(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    scale = max(a.scale, b.scale)
    precision = max(t.precision - t.scale for t in (a, b)) + scale
    if precision <= MAX_PRECISION:
        return pa.decimal128(precision, scale)
    return pa.decimal256(precision, scale) if precision <= 2 * MAX_PRECISION else None


def _finest(a: pa.DataType, b: pa.DataType) -> str:
    """Return the finer unit of two types of times."""
    unit: str = max(a.unit, b.unit, key=lambda unit: arrow.TICKS[unit])
    return unit


def _timestamp(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    zones = {t.tz for t in (a, b)}
    if None in zones and len(zones) > 1:
        return None
    named = [t.tz for t in (a, b) if t.tz not in UTC_NAMES]
    if len(set(named)) > 1:
        return None
    return pa.timestamp(_finest(a, b), named[0] if named else a.tz)


def _time(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    unit = _finest(a, b)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _duration(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    return pa.duration(_finest(a, b))


_RULES: Mapping[str, Rule] = {
    "text": lambda a, b: pa.string(),
    "bytes": lambda a, b: pa.binary(),
    "integer": _integer,
    "decimal": _decimal,
    "real": _real,
    "date": lambda a, b: pa.date32(),
    "time": _time,
    "timestamp": _timestamp,
    "duration": _duration,
}


def _nested(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """Return the common type of lists or of structs with the same fields."""
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        return _struct(a, b)
    if not (_is_list(a) and _is_list(b)):
        return None
    value = common_type(a.value_type, b.value_type)
    if value is None:
        return None
    fixed = [t for t in (a, b) if pa.types.is_fixed_size_list(t)]
    if len(fixed) == 2:
        same = a.list_size == b.list_size
        return pa.list_(value, a.list_size) if same else pa.list_(value)
    return pa.list_(value)


def _is_list(type: pa.DataType) -> bool:
    of = pa.types
    return bool(
        of.is_list(type) or of.is_large_list(type) or of.is_fixed_size_list(type)
    )


def _struct(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    fields = [
        {t.field(k).name: t.field(k).type for k in range(t.num_fields)} for t in (a, b)
    ]
    if set(fields[0]) != set(fields[1]):
        return None
    common = {
        name: common_type(type, fields[1][name]) for name, type in fields[0].items()
    }
    if None in common.values():
        return None
    return pa.struct(list(common.items()))
