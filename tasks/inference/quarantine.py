"""Parts of results, and quarantine tables of the rows that a job sets aside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.data.fragments import Fragment
from tasks.runtime import parts

QUARANTINE = "quarantine"
"""Directory of these tables within the results of a job."""

PLACE_COLUMNS = ("source", "row")
"""Columns that say which file a row comes from, and its number there."""

QUARANTINE_COLUMNS = (*PLACE_COLUMNS, "reason")
"""Columns of these tables after the carried ones."""


def places(fragment: Fragment, rows: np.ndarray) -> dict[str, pa.Array]:
    """Return the file of some rows and their numbers in it, by column.

    Args:
        fragment: Where the rows come from.
        rows: Positions of the rows in the fragment, (n,).
    """
    files = pa.array([fragment.name], pa.string()).take(pa.array(np.zeros_like(rows)))
    return {"source": files, "row": pa.array(rows + fragment.first, pa.int64())}


def with_places(carried: pa.Table, fragment: Fragment, rows: np.ndarray) -> pa.Table:
    """Return carried columns after the file of the rows and their numbers in it.

    Args:
        carried: Id and partition columns of the rows (n).
        fragment: Where the rows come from.
        rows: Positions of the rows in the fragment, (n,).
    """
    first = places(fragment, rows)
    fields = [*(pa.field(n, v.type) for n, v in first.items()), *carried.schema]
    columns = {name: carried[name] for name in carried.column_names}
    return pa.table({**first, **columns}, schema=pa.schema(fields))


def quarantine_table(
    fragment: Fragment, carried: pa.Table, rows: np.ndarray, reasons: list[str]
) -> pa.Table:
    """Return the quarantine table of some rows of a fragment.

    Args:
        fragment: Where the rows come from.
        carried: The rows' id and partition columns.
        rows: Positions of the rows in the fragment, (n,).
        reasons: Why each row is set aside, (n,).

    Returns:
        The carried columns and: source (file name), row (position in the file), reason.
    """
    added = {
        **places(fragment, rows),
        "reason": pa.array(reasons, pa.string()),
    }
    # Built anew, since a table without columns, where nothing is carried, has no rows.
    columns = {name: carried[name] for name in carried.column_names}
    fields = [*carried.schema, *(pa.field(n, v.type) for n, v in added.items())]
    return pa.table({**columns, **added}, schema=pa.schema(fields))


def unreadable_rows(
    fragment: Fragment, carried: Sequence[str], reason: str
) -> pa.Table:
    """Return the quarantine table of a fragment that cannot be read: all its rows.

    Args:
        fragment: The fragment; its carried columns become null.
        carried: Names of the id and partition columns.
        reason: Why it cannot be read.
    """
    schema = pa.schema([fragment.schema.field(c).with_nullable(True) for c in carried])
    nulls = [pa.nulls(fragment.rows, field.type) for field in schema]
    return quarantine_table(
        fragment,
        pa.Table.from_arrays(nulls, schema=schema),
        np.arange(fragment.rows),
        [reason] * fragment.rows,
    )


def write_part(
    folder: str,
    fragment: Fragment,
    carried: pa.Table,
    results: pa.Table,
    bad: pa.Table,
    common: parts.PartMetadata,
    *,
    compression: str = "zstd",
    **metadata: Any,  # JSON-able
) -> parts.PartMetadata:
    """Write the part of a fragment, after its quarantine: a part is proof of both.

    Args:
        folder: Directory of the parts.
        fragment: Where the rows come from.
        carried: Id and partition columns of the rows, which come first.
        results: Results of the rows.
        bad: Quarantine table of the other rows.
        common: Metadata of every file of the job.
        compression: Codec of the part's columns.
        **metadata: Further metadata of the part.

    Returns:
        The metadata of the part.
    """
    name = parts.file_name(fragment.index)
    companions = {f"{QUARANTINE}/{name}": bad.num_rows} if bad.num_rows else {}
    common = {**common, **parts.bound(fragment, common["job_key"])}
    files = [parts.write(folder, file, bad, common) for file in companions]
    metadata |= {
        **common,
        "source": fragment.name,
        "first_row": fragment.first,
        "rows_in": fragment.rows,
        "rows_out": results.num_rows,
        "rows_quarantined": bad.num_rows,
        "companions": companions,
    }
    for place, field in enumerate(carried.schema):
        results = results.add_column(place, field, carried[field.name])
    entry = parts.write(folder, name, results, metadata, compression=compression)
    return {**metadata, "files": [entry, *files]}
