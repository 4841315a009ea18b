"""Columns of text that hold dates, times or numbers, found in a sample of the rows."""

from dataclasses import replace

import pyarrow as pa

from ar_models.tables import arrow, text_formats
from tasks.config.data import DataConfig
from tasks.data.datasets import Dataset
from tasks.data.fragments import evenly_spaced, iter_tables
from tasks.data.text import find_invalid_text

SAMPLED_FRAGMENTS = 8
"""Number of fragments, from all over the dataset, that texts are sampled from."""

SAMPLE_ROWS = 1000
"""Number of rows of each of them."""

KINDS = (None, "integer", "real", "timestamp")
"""Configured kinds of columns whose text may be something else."""


def recognise_text(dataset: Dataset, data: DataConfig) -> Dataset:
    """Return a dataset whose text is read as the dates, times or numbers that it says.

    A text that does not have the format of its column is read as null.

    Args:
        dataset: The dataset.
        data: Its configuration; text of the kinds binary, categorical and sequence
            stays text, as do columns that are not modelled, except for the time that
            rows are split by.
    """
    wanted = set(data.modelled(dataset.schema.names)) - dataset.hive_keys.keys()
    if data.split.by == "time" and data.split.column:
        wanted.add(data.split.column)
    names = [
        field.name
        for field in dataset.schema
        if field.name in wanted
        and arrow.family(field.type) == "text"
        and not isinstance(field.type, pa.BaseExtensionType)  # such as JSON
        and data.kind_of(field.name) in KINDS
    ]
    sample = _sample(dataset, names) if names else None
    if sample is None:
        return dataset
    fields = {field.name: field for field in dataset.schema}
    invalid = find_invalid_text(sample)
    for name in names:
        if name in invalid:
            continue
        texts = arrow.flat(sample.column(name)).drop_null().to_pylist()
        found = text_formats.recognise(texts)
        if found is not None:
            fields[name] = text_formats.with_format(fields[name], *found)
    schema = pa.schema(list(fields.values()))
    fragments = tuple(replace(f, schema=schema) for f in dataset.fragments)
    return replace(dataset, schema=schema, fragments=fragments)


def _sample(dataset: Dataset, names: list[str]) -> pa.Table | None:
    """Return some rows of some columns; None if no file can be read."""
    parts = []
    for fragment in evenly_spaced(dataset.fragments, SAMPLED_FRAGMENTS):
        try:
            parts.append(next(iter_tables(fragment, SAMPLE_ROWS, names)))
        except pa.ArrowInvalid:  # the damage is reported when all rows are read
            continue
    return pa.concat_tables(parts) if parts else None
