"""Hive partitions: directories such as day=2026-01-15, whose keys become columns."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

import pyarrow as pa

from tasks.runtime import storage

PARTITION = re.compile(r"^([^=/]+)=([^/]*)$")
NULL = "__HIVE_DEFAULT_PARTITION__"
"""Value of a key that stands for null."""

KeyValues = tuple[tuple[str, str], ...]
"""Keys and values of the partitions that a file lies in, outermost first."""


def is_partition(directory: str) -> bool:
    """Return whether the name of a directory has the form key=value."""
    return PARTITION.match(directory) is not None


def key_values(name: str) -> KeyValues:
    """Return the keys and values of the directories in a relative file name."""
    matches = (PARTITION.match(part) for part in name.split("/")[:-1])
    return tuple((m[1], unquote(m[2])) for m in matches if m)


def partition_fields(root: str, partitions: Mapping[str, KeyValues]) -> list[pa.Field]:
    """Return the fields of the hive keys: int64 if all values are integers, or string.

    Args:
        root: Root directory of the dataset, for messages.
        partitions: Keys and values by file name.

    Raises:
        ValueError: Files lie in partitions of different keys.
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
        values = {pairs[place][1] for pairs in partitions.values()} - {NULL}
        are_integers = all(re.fullmatch(r"-?\d{1,18}", value) for value in values)
        fields.append(pa.field(key, pa.int64() if are_integers else pa.string()))
    return fields
