"""Hive partitions: directories such as day=2026-01-15, whose keys become columns."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from urllib.parse import unquote

import pyarrow as pa

from ar_models.tables import arrow
from tasks.runtime import storage

PARTITION = re.compile(r"^([^=/]+)=([^/]*)$")
NULL = "__HIVE_DEFAULT_PARTITION__"
"""Value of a key that stands for null."""

INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
"""Integers as they are written; one with leading zeros, such as 01067, is text."""

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
"""Dates that Arrow reads."""

PERIOD = re.compile(
    r"(19|20)\d\d[-_./]?(0[1-9]|1[0-2]|W\d\d|Q[1-4])"
    r"([-_./]?(0[1-9]|[12]\d|3[01])([T _-]?([01]\d|2[0-3])([:_-]?\d\d){0,2}"
    r"(\.\d+)?(Z|[+-]\d\d:?\d\d)?)?)?"
)
"""Dates, months, weeks, quarters and hours that contain their year."""

PERIOD_NAME = re.compile(
    r"(?i:(^|[^a-z])(year|yr|yyyy|month|mon|mm|week|wk|quarter|qtr|day|dd|hour|hr|hh)$)"
)
"""Names of keys whose numbers are parts of a date."""

KeyValues = tuple[tuple[str, str], ...]
"""Keys and values of the partitions that a file lies in, outermost first."""


def is_partition(directory: str) -> bool:
    """Return whether the name of a directory has the form key=value."""
    return PARTITION.match(directory) is not None


def key_values(name: str) -> KeyValues:
    """Return the keys and values of the directories in a relative file name."""
    matches = (PARTITION.match(part) for part in name.split("/")[:-1])
    return tuple((m[1], unquote(m[2])) for m in matches if m)


def partition_fields(
    root: str, partitions: Mapping[str, KeyValues], trained: pa.Schema
) -> list[pa.Field]:
    """Return the fields of the hive keys, in the types that they had in training.

    The type of another key is that of all its values: int64, date32 or string.

    Args:
        root: Root directory of the dataset, for messages.
        partitions: Keys and values by file name.
        trained: Columns whose types are known.

    Raises:
        ValueError: Files lie in partitions of different keys, or the value of a key
            does not have its type.
    """
    first, pairs = next(iter(partitions.items()))
    keys = [key for key, _ in pairs]
    for name, others in partitions.items():
        if [key for key, _ in others] != keys:
            raise ValueError(
                f"{storage.join(root, name)}: its directories give the columns "
                f"{[k for k, _ in others]!r}, those of {storage.join(root, first)} "
                f"give {keys!r}; use the same keys for all files"
            )
    fields = []
    for place, key in enumerate(keys):
        files = {pairs[place][1]: name for name, pairs in partitions.items()}
        files.pop(NULL, None)
        if key in trained.names:
            type = trained.field(key).type
            for value, name in files.items():
                _check_value(storage.join(root, name), key, value, type)
        else:
            type = infer_type(key, files)
        fields.append(pa.field(key, type))
    return fields


def infer_type(key: str, values: Collection[str]) -> pa.DataType:
    """Return the type of a key: int64, date32 or, if some value is neither, string.

    Args:
        key: Name of the key.
        values: Its values in all partitions, without nulls.
    """
    # Parts of dates are numbers even if they are padded, as in month=01.
    padded = r"\d{1,2}" if PERIOD_NAME.search(key) else INTEGER
    if not values:
        return pa.string()
    if all(re.fullmatch(INTEGER, v) or re.fullmatch(padded, v) for v in values):
        return pa.int64()
    return pa.date32() if all(map(_is_day, values)) else pa.string()


def is_period(key: str, values: Iterable[str]) -> bool:
    """Return whether a key divides rows by time, so that new rows have new values.

    Args:
        key: Name of the key.
        values: Its values.
    """
    known = set(values) - {NULL}
    if not known:
        return False
    if PERIOD_NAME.search(key) and all(re.fullmatch(r"\d{1,4}", v) for v in known):
        return True
    return all(re.fullmatch(PERIOD, value) for value in known)


def convert(value: str, type: pa.DataType) -> pa.Scalar:
    """Convert the value of a key to an Arrow type, encodings aside.

    Raises:
        pa.ArrowInvalid: It has another type.
    """
    text = pa.scalar(None if value == NULL else value, pa.string())
    return text.cast(arrow.plain(type))


def _check_value(path: str, key: str, value: str, type: pa.DataType) -> None:
    try:
        convert(value, type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{path}: its directory {key}={value} is not of type {type}, which the "
            f"column {key!r} had in training; rename the directory, or train anew with "
            "it among the data"
        ) from error


def _is_day(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return re.fullmatch(DAY, value) is not None
