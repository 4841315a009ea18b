"""The moments that separate the splits, where rows are split by time."""

from functools import partial

import pyarrow as pa

from tasks.data import splits
from tasks.data.cells import representation_of, to_cells
from tasks.data.datasets import BadFile, Dataset
from tasks.data.division import PreparePlan
from tasks.data.fragments import Fragment, read_fragment
from tasks.data.quarantine import file_fault, readable_results
from tasks.data.sketches import NumberSketch, max_exact, sketch_column
from tasks.runtime import cluster


def find_boundaries(
    dataset: Dataset, plan: PreparePlan
) -> tuple[tuple[int | float, ...], list[BadFile]]:
    """Find the last moments of train, valid and calibration, from the time column.

    Returns:
        The moments, and the files that cannot be read.

    Raises:
        ValueError: The column holds no time, or too few distinct ones.
    """
    sketches = cluster.stream(
        partial(sketch_moments, plan),
        dataset.fragments,
        what="prepare: rows dated",
        units=lambda fragment: fragment.rows,
    )
    max_distinct = max_exact(plan.data, 1, "integers")
    total: NumberSketch | None = None
    bad: list[BadFile] = []
    for part in readable_results(dataset.fragments, sketches, bad):
        total = part if total is None else total.merge(part, max_distinct)
    if total is None or total.low is None:
        raise ValueError(
            f"data.split.column: {plan.data.split.column!r} holds no time; use another "
            "column, or split by hash"
        )
    moments = total.distribution()
    return tuple(splits.time_boundaries(moments, plan.data.split)), bad


def sketch_moments(plan: PreparePlan, fragment: Fragment) -> NumberSketch | str:
    """Sketch the time column of a fragment, or return what is wrong with its file."""
    column = plan.data.split.column
    assert column is not None
    try:
        table = read_fragment(fragment, [column])
    except pa.ArrowInvalid as error:
        return file_fault(plan.data, error)
    type = fragment.schema.field(column).type
    max_distinct = max_exact(plan.data, 1, representation_of(type, None))
    sketch = sketch_column(to_cells(table.column(column), type), type, max_distinct)
    if not isinstance(sketch, NumberSketch):
        raise ValueError(
            f"data.split.column: {column!r} has type {type}, which is not a time; use "
            "another column, or split by hash"
        )
    return sketch
