"""The schema that all files of a dataset share, and checks of columns against it."""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.tables import arrow, list_cells, structs, text_formats
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import OnMissing
from tasks.data import hive
from tasks.data.common_types import common_type
from tasks.data.hive import KeyValues
from tasks.runtime import storage

NOTHING_KNOWN = pa.schema([])
"""The columns that are known of a dataset that no model was trained on."""


def flat_schema_of(path: str, footer: pq.FileMetaData) -> pa.Schema:
    """Return the schema of a file, with columns in place of structs.

    Raises:
        ValueError: Columns have the same name.
    """
    schema = footer.schema.to_arrow_schema()
    _check_unique_names(path, schema)
    try:
        return structs.flat_schema(schema)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True)
class CommonSchema:
    """The schema of all files of a dataset.

    Attributes:
        schema: Arrow schema of every row, hive columns included.
        partitions: By file name, the hive keys that are not stored in the files.
        missing: By column, the files that lack it and in which it is null.
    """

    schema: pa.Schema
    partitions: dict[str, KeyValues]
    missing: dict[str, tuple[str, ...]]


def common_schema(
    root: str,
    schemas: Mapping[str, pa.Schema],
    *,
    on_missing: OnMissing = "null",
    trained: pa.Schema = NOTHING_KNOWN,
) -> CommonSchema:
    """Return the schema of all files of a dataset, hive columns included.

    Args:
        root: Root directory of the dataset.
        schemas: Arrow schema of each file, by relative name.
        on_missing: Whether a column that some files lack is null there, or an error.
        trained: Columns of the rows that a model was trained on. Hive keys have these
            types, and columns that may be null are null where no file has them.

    Raises:
        ValueError: A column has types of different meaning, or is missing.
    """
    fields, source = _merged_fields(root, schemas)
    fields = _with_formats(fields, trained)
    keys = {key for name in schemas for key, _ in hive.key_values(name)}
    missing = {
        column: tuple(name for name in schemas if column not in schemas[name].names)
        for column in fields
    }
    missing = {column: names for column, names in missing.items() if names}
    # A key that some files store as a column stands in the directories of the others.
    _check_missing(root, missing, source, keys, on_missing)
    for item in trained:
        if item.nullable and item.name not in {*fields, *keys} and on_missing == "null":
            fields[item.name] = item
            missing[item.name] = tuple(schemas)
    partitions = {
        name: tuple((k, v) for k, v in hive.key_values(name) if k not in fields)
        for name in schemas
    }
    stored = [
        item.with_type(_without_views(item.type)).with_nullable(
            name in missing or _is_nullable(name, schemas)
        )
        for name, item in fields.items()
    ]
    partitioned = hive.partition_fields(root, partitions, trained)
    return CommonSchema(pa.schema(stored + partitioned), partitions, missing)


def _merged_fields(
    root: str, schemas: Mapping[str, pa.Schema]
) -> tuple[dict[str, pa.Field], dict[str, str]]:
    """Return each column with a type for the values of all files, and its first file.

    Raises:
        ValueError: A column has types of different meaning.
    """
    fields: dict[str, pa.Field] = {}
    source: dict[str, str] = {}
    for name, schema in schemas.items():
        _check_unique_names(storage.join(root, name), schema)
        for item in schema:
            known = fields.get(item.name)
            if known is None or pa.types.is_null(known.type):
                fields[item.name] = item
                source[item.name] = name
                continue
            type = common_type(known.type, item.type)
            is_other = structs.is_presence(known) != structs.is_presence(item)
            if type is None or is_other and not pa.types.is_null(item.type):
                raise ValueError(
                    f"column {item.name!r} is {_type_text(known)} in "
                    f"{storage.join(root, source[item.name])} but {_type_text(item)} "
                    f"in {storage.join(root, name)}; write both files with the same "
                    "type"
                )
            fields[item.name] = known.with_type(type)
    return fields, source


def _type_text(field: pa.Field) -> str:
    """Return the type of a column for messages; that of a struct without its fields."""
    return "struct" if structs.is_presence(field) else str(field.type)


def _with_formats(
    fields: Mapping[str, pa.Field], trained: pa.Schema
) -> dict[str, pa.Field]:
    """Return columns of which text is what it was in training, such as dates."""
    found = {name: structs.bare(item) for name, item in fields.items()}
    for item in trained:
        format = text_formats.format_of(item)
        own = found.get(item.name)
        if own and format and arrow.family(own.type) == "text":
            found[item.name] = text_formats.with_format(own, format, item.type)
    return found


def _check_missing(
    root: str,
    missing: Mapping[str, tuple[str, ...]],
    source: Mapping[str, str],
    keys: Collection[str],
    on_missing: OnMissing,
) -> None:
    """Raise if files lack columns that must not be missing.

    Raises:
        ValueError: The message names a column, a file with it and one without it.
    """
    for column, names in missing.items():
        if on_missing == "error" or column in keys:
            remedy = "" if column in keys else ", or set data.on_missing: null"
            raise ValueError(
                f"{storage.join(root, names[0])}: column {column!r} is missing, which "
                f"{storage.join(root, source[column])} has; add the column, or remove "
                f"one of the files{remedy}"
            )


def _check_unique_names(path: str, schema: pa.Schema) -> None:
    for name, count in Counter(schema.names).items():
        if count > 1:
            raise ValueError(
                f"{path}: column {name!r} occurs more than once; rename one of them"
            )


def _without_views(type: pa.DataType) -> pa.DataType:
    # Arrow cannot filter string and binary views yet.
    if pa.types.is_string_view(type):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(type) else type


def _is_nullable(column: str, schemas: Mapping[str, pa.Schema]) -> bool:
    return any(schema.field(column).nullable for schema in schemas.values())


def trained_schema(encoder: TableEncoder) -> pa.Schema:
    """Return the columns of the rows that an encoder was fitted to.

    The modelled columns that held nulls are nullable, no others except those that tell
    whether a struct is there.
    """
    nullable = {c.name for c in encoder.columns if "missing" in c.specials_seen}
    fields = [*encoder.schema, *encoder.carried]
    return pa.schema(
        [f.with_nullable(f.name in nullable or structs.is_presence(f)) for f in fields]
    )


def key_types(encoder: TableEncoder) -> pa.Schema:
    """Return the columns of the rows that an encoder was fitted to, for their types.

    None is nullable, so that one that a dataset lacks stays unknown.
    """
    return pa.schema([f.with_nullable(False) for f in trained_schema(encoder)])


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


def check_types(schema: pa.Schema, kinds: Mapping[str, str]) -> None:
    """Raise if a column has a type that cannot be modelled.

    Args:
        schema: Schema of the dataset.
        kinds: Configured kinds by column.

    Raises:
        ValueError: A column is nested other than as a list, or its type is unknown.
    """
    for name, kind in kinds.items():
        type = schema.field(name).type
        if not list_cells.can_be_modelled(type):
            raise ValueError(
                f"data.columns.{name}: kind {kind} is impossible for type {type}, "
                "which cannot be modelled; remove the entry, and the column is left out"
            )
