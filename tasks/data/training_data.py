"""The dataset of a configuration, opened and checked against the configuration."""

from fnmatch import fnmatchcase

import pyarrow as pa

from ar_models.tables import structs
from ar_models.tables.list_cells import can_be_modelled, element_types, is_nested
from tasks.config.data import DataConfig
from tasks.data.columns.infer import LEAVE_OUT, check_kind
from tasks.data.columns.ranges import check_bounds
from tasks.data.datasets import Dataset, open_dataset
from tasks.data.recognition import recognise_text
from tasks.data.schema import check_columns, check_types

FRAGMENT_CELLS = 1 << 22
"""Number of cells of a fragment, which take about 300 MB in one process."""

MAX_FRAGMENT_ROWS = 500_000
"""Number of rows of a fragment of few columns."""

USUAL_LENGTH = 256
"""Assumed length of lists whose type does not fix it."""


def open_training_data(data: DataConfig) -> Dataset:
    """Open the dataset of a configuration.

    Raises:
        ValueError: The configuration names a column that does not exist or has an
            unsuitable type, or no column is left to model.
    """

    def rows_per_fragment(schema: pa.Schema) -> int:
        gone = structs.with_fields(data.exclude, schema)
        cells = sum(_cells_per_row(f.type) for f in schema if f.name not in gone)
        return max(1, min(MAX_FRAGMENT_ROWS, FRAGMENT_CELLS // max(1, cells)))

    dataset = open_dataset(
        data.path,
        rows_per_fragment=rows_per_fragment,
        on_bad_file=data.on_bad_file,
        on_missing=data.on_missing,
    )
    data = with_struct_fields(data, dataset.schema)
    dataset = recognise_text(dataset, data)
    schema = dataset.schema
    moment = [data.split.column] if data.split.column else []
    named = {"data.id": data.id, "data.exclude": data.exclude}
    check_columns(schema, {**named, "data.split.column": moment})
    check_columns(_with_fields(schema), {"data.columns": tuple(data.columns)})
    check_columns(schema, {"data.constraints": data.constraints.columns})
    modelled = data.modelled(schema.names)
    every = {name: data.kind_of(name) for name in modelled}
    kinds = {n: kind for n, kind in every.items() if kind and kind != LEAVE_OUT}
    check_types(schema, kinds)
    for name in modelled:
        if name in data.columns:
            check_bounds(name, schema.field(name).type, data.columns[name])
    for name in moment:
        if not can_be_modelled(schema.field(name).type):
            raise ValueError(
                f"data.split.column: column {name!r} is {schema.field(name).type}, "
                "which holds no time; name a column of dates, timestamps or numbers"
            )
    for name, kind in kinds.items():
        check_kind(name, schema.field(name).type, kind)
    image_columns(data, schema)
    if not modelled:
        raise ValueError(
            f"{data.path}: all columns are excluded or ids; leave one to be modelled"
        )
    return dataset


def with_struct_fields(data: DataConfig, schema: pa.Schema) -> DataConfig:
    """Return a configuration that names the fields of structs that it names.

    Args:
        data: Its ids and excluded columns may be structs.
        schema: Schema of the dataset, with columns in place of structs.
    """
    named = {"id": data.id, "exclude": data.exclude}
    return data.model_copy(
        update={key: structs.with_fields(n, schema) for key, n in named.items()}
    )


def _with_fields(schema: pa.Schema) -> pa.Schema:
    """Return a schema extended by the fields of lists of structs, as COLUMN.FIELD."""
    fields = list(schema)
    for column in schema:
        if is_nested(column.type):
            for name, type in (element_types(column.type) or {}).items():
                fields += [pa.field(f"{column.name}.{name}", type)] if name else []
    return pa.schema(fields)


def _cells_per_row(type: pa.DataType) -> int:
    """Return the approximate number of cells that a column of a type has per row."""
    count = 1
    while pa.types.is_fixed_size_list(type):
        count, type = count * type.list_size, type.value_type
    return count * USUAL_LENGTH if is_nested(type) else count


def image_columns(data: DataConfig, schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the columns that hold images, by key of `data.images`.

    Raises:
        ValueError: They are neither one column of lists nor as many columns as an
            image has values.
    """
    carried = data.modelled(schema.names)
    found: dict[str, list[str]] = {}
    for pattern, image in data.images.items():
        names = [name for name in carried if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(
                f"data.images: no modelled column matches {pattern!r}; the first "
                f"columns are {list(carried[:10])!r}"
            )
        nested = [name for name in names if is_nested(schema.field(name).type)]
        if nested and len(names) > 1 or not nested and len(names) != image.size:
            raise ValueError(
                f"data.images.{pattern}: {len(names)} columns match; expected one "
                f"column of lists or {' x '.join(map(str, image.shape))} = "
                f"{image.size} columns of numbers"
            )
        twice = [n for n in names for others in found.values() if n in others]
        if twice or any(name in data.columns for name in names):
            raise ValueError(
                f"data.images.{pattern}: {(twice or names)[0]!r} is also configured by "
                "another key of data.images or in data.columns; configure it once"
            )
        found[pattern] = names
    return found
