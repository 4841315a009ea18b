"""The held-out rows on which the gate compares two models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.density.table_density import TableDensity
from ar_models.tables import arrow
from ar_models.tables.list_cells import can_be_modelled
from tasks.config.data import DataConfig
from tasks.config.gate import GateConfig
from tasks.data import splits
from tasks.data.cells import representation_of, to_cells
from tasks.data.hashing import row_hashes
from tasks.data.splits import split_by_hash, split_by_time
from tasks.data.training_data import with_struct_fields
from tasks.evaluation import held_out
from tasks.runtime import storage

Json = dict[str, Any]  # JSON values


def check_configured_columns(about: Json, prepared: str, config: GateConfig) -> None:
    """Raise a ValueError if the dataset lacks a column that the gate is to use.

    Args:
        about: Manifest of the prepared dataset.
        prepared: Folder of the prepared dataset.
        config: Names the columns.
    """
    schema = storage.read_json(storage.join(prepared, "schema.json"))
    excluded = set(about["config"]["exclude"])
    available = [c["name"] for c in schema["columns"] if c["name"] not in excluded]
    required = {"gate.segments": config.segments}
    if config.order_by:
        required["gate.order_by"] = (config.order_by,)
    for key, names in required.items():
        for name in names:
            if name not in available:
                raise ValueError(
                    f"{key}: no column {name!r}; available columns: "
                    f"{', '.join(available)}"
                )


def select_rows(
    champion: TableDensity, prepared: str, about: Json, config: GateConfig
) -> tuple[pa.Table, str]:
    """Select the newest test rows that the champion was not trained on.

    Args:
        champion: The champion, or the only model.
        prepared: Folder of the prepared dataset.
        about: Its manifest.
        config: Says how many rows, and by which column they are ordered.

    Returns:
        The rows, and a description of them for reports.
    """
    order_by = config.order_by or about["config"]["split"]["column"]
    files = held_out.list_test_files(prepared, about)
    chosen = newest_rows(files, order_by, config.rows)
    table = pa.concat_tables(
        [
            held_out.read(file.path).take(pa.array(rows))
            for file, rows in zip(files, chosen, strict=True)
            if len(rows)
        ]
    )
    order = f"by {order_by}" if order_by else "in file order"
    known = trained_on(champion, table)
    if known is None:
        return table, (
            f"the {table.num_rows:,} newest test rows {order}; it is unknown which of "
            "them the champion was trained on"
        )
    unseen = table.filter(pa.array(~known))
    return unseen, (
        f"the {unseen.num_rows:,} newest held-out rows {order}, none of which either "
        "model was trained on"
    )


def newest_rows(
    files: Sequence[held_out.HeldOutFile], order_by: str | None, limit: int
) -> list[np.ndarray]:
    """Return the positions of the newest rows within each file, ascending.

    Args:
        files: Files of test rows.
        order_by: Column whose largest values are the newest; by default, the last rows
            of the last files are.
        limit: Maximum number of rows in all files together.
    """
    sizes = [file.rows for file in files]
    position = np.concatenate([np.arange(size) for size in sizes])
    file_index = np.repeat(np.arange(len(sizes)), sizes)
    order = np.arange(len(position))
    if order_by is not None:
        tables = [held_out.read(file.path, [order_by]) for file in files]
        values = pa.concat_tables(tables)[order_by]
        # Nulls count as the oldest: nothing says that they are new.
        order = pc.array_sort_indices(values, null_placement="at_start").to_numpy()
    newest = order[-limit:]
    return [
        np.sort(position[newest[file_index[newest] == k]]) for k in range(len(sizes))
    ]


def trained_on(density: TableDensity, table: pa.Table) -> np.ndarray | None:
    """Return which rows belong to the training or validation rows of a model.

    The rule that split the model's own dataset is applied to the rows.

    Args:
        density: The model.
        table: Rows, n.

    Returns:
        Booleans, (n,), or None if the model does not record its rule or the rows lack
        columns that it uses.
    """
    rule = density.info.get("split_rule")
    if rule is None:
        return None
    data = DataConfig.model_validate({**rule["config"], "path": ""})
    schema = density.encoder.schema
    if data.split.by == "time":
        column = data.split.column
        if column not in table.column_names:
            return None
        type = table.schema.field(column).type
        times = to_cells(table[column], type, representation_of(type, None))
        assert isinstance(times, arrow.Cells)  # A column of times is not a list.
        codes = split_by_time(times, rule["boundaries"])
        return np.asarray((codes == 0) | (codes == 1))
    data = with_struct_fields(data, table.schema)
    if not {*schema.names, *data.id} <= set(table.column_names):
        return None
    modelled = [field.name for field in schema if can_be_modelled(field.type)]
    return _hashed_to_training(table, modelled, data)


def _hashed_to_training(
    table: pa.Table, names: Sequence[str], data: DataConfig
) -> np.ndarray:
    split, columns = data.split, splits.id_cells(table, data.id)
    for name in names:
        type = table.schema.field(name).type
        override = data.columns.get(name)
        base = representation_of(type, override.kind if override else None)
        columns[name] = to_cells(table[name], type, base)
    codes = split_by_hash(row_hashes(columns, split.seed), split)
    return np.asarray(codes < 2)
