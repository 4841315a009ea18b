"""The schema that all files of a dataset share, and checks of columns against it."""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping

import pyarrow as pa

from ar_models.tables import arrow, list_cells
from tasks.data import hive
from tasks.data.hive import KeyValues
from tasks.runtime import storage


def common_schema(
    root: str, schemas: Mapping[str, pa.Schema]
) -> tuple[pa.Schema, dict[str, KeyValues]]:
    """Return the schema of all files of a dataset, hive columns included.

    Args:
        root: Root directory of the dataset.
        schemas: Arrow schema of each file, by relative name.

    Returns:
        The schema, and by file name the hive keys that are not stored in the files.

    Raises:
        ValueError: The files do not have the same columns and types.
    """
    fields = _merged_fields(root, schemas)
    partitions = {
        name: tuple((k, v) for k, v in hive.key_values(name) if k not in fields)
        for name in schemas
    }
    stored = [
        pa.field(name, _without_views(item.type), _is_nullable(name, schemas))
        for name, item in fields.items()
    ]
    return pa.schema(stored + hive.partition_fields(root, partitions)), partitions


def _merged_fields(root: str, schemas: Mapping[str, pa.Schema]) -> dict[str, pa.Field]:
    """Return the first field that is not of type null of each column, by name."""
    fields: dict[str, pa.Field] = {}
    source: dict[str, str] = {}
    for name, schema in schemas.items():
        _check_unique_names(storage.join(root, name), schema)
        for item in schema:
            known = fields.get(item.name)
            if known is None or pa.types.is_null(known.type):
                fields[item.name] = item
                source[item.name] = name
            elif not _is_same_type(known.type, item.type):
                raise ValueError(
                    f"column {item.name!r} is {known.type} in "
                    f"{storage.join(root, source[item.name])} but {item.type} in "
                    f"{storage.join(root, name)}; write both files with the same type"
                )
    for name, schema in schemas.items():
        for column in [c for c in fields if c not in schema.names]:
            raise ValueError(
                f"{storage.join(root, name)}: column {column!r} is missing, which "
                f"{storage.join(root, source[column])} has; add the column, or remove "
                "one of the files"
            )
    return fields


def _check_unique_names(path: str, schema: pa.Schema) -> None:
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise ValueError(
                f"{path}: column {name!r} occurs more than once; rename one of them"
            )


def _is_same_type(a: pa.DataType, b: pa.DataType) -> bool:
    """Return whether values of `b` can be read as `a`, whatever their encoding."""
    return bool(arrow.plain(a) == arrow.plain(b) or pa.types.is_null(b))


def _without_views(type: pa.DataType) -> pa.DataType:
    # Arrow cannot filter string and binary views yet.
    if pa.types.is_string_view(type):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(type) else type


def _is_nullable(column: str, schemas: Mapping[str, pa.Schema]) -> bool:
    return any(schema.field(column).nullable for schema in schemas.values())


def check_columns(schema: pa.Schema, named: Mapping[str, Collection[str]]) -> None:
    """Raise if the configuration names a column that the dataset does not have.

    Args:
        schema: Schema of the dataset.
        named: Column names by configuration key.

    Raises:
        ValueError: A column is unknown; the message suggests a similar name.
    """
    for key, columns in named.items():
        for column in columns:
            if column not in schema.names:
                near = difflib.get_close_matches(column, schema.names)
                hint = f"did you mean {near[0]!r}?" if near else "it has"
                rest = "" if near else f" {schema.names!r}"
                raise ValueError(
                    f"{key}: the dataset has no column {column!r}; {hint}{rest}"
                )


def check_types(schema: pa.Schema, columns: Collection[str]) -> None:
    """Raise if a column has a type that cannot be modelled.

    Raises:
        ValueError: A column is nested other than as a list, or its type is unknown.
    """
    for name in columns:
        type = schema.field(name).type
        if arrow.family(type) is None and not list_cells.is_nested(type):
            raise ValueError(
                f"column {name!r} has type {type}, which cannot be modelled; flatten "
                "it, or add it to data.exclude"
            )
