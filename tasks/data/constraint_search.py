"""The constraints of a dataset: searched in a sample of its training rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.left_out import LeftOut
from ar_models.tables.trained_cells import as_trained
from tasks.data.cells import to_cells
from tasks.data.columns.infer import LEAVE_OUT, infer_column
from tasks.data.constraints.configured import configured_formulas
from tasks.data.constraints.discover import discover
from tasks.data.constraints.inequalities import (
    configured_inequalities,
    find_inequalities,
)
from tasks.data.constraints.nulls import with_nulls
from tasks.data.constraints.sample import sample_of
from tasks.data.division import PreparePlan, divide_fragment
from tasks.data.fragments import Fragment, evenly_spaced
from tasks.data.quarantine import file_fault
from tasks.data.sketches import max_exact, sketch_column
from tasks.data.splits import SPLITS
from tasks.data.training_data import image_columns

SAMPLE_ROWS = 20_000
"""Maximum number of training rows that constraints are searched in."""

FORMAT = 2
"""Enters the job key; raised when the search finds other constraints than before."""

SAMPLED_FRAGMENTS = 8
"""Number of fragments, from all over the dataset, that these rows come from."""


def with_constraints(
    plan: PreparePlan, fragments: Sequence[Fragment], schema: pa.Schema
) -> PreparePlan:
    """Return a plan with the constraints of its dataset, found or configured.

    The result depends on the dataset and the configuration alone.

    Args:
        plan: Which columns are modelled, and how rows are split.
        fragments: Fragments of the files that can be read.
        schema: Schema of the dataset.

    Raises:
        ValueError: A configured constraint does not fit the data.
    """
    config = plan.data.constraints
    schema = plan.schema(schema)
    columns = _searchable(plan, schema)
    if not (config.discover or config.add) or len(columns) < 2:
        return plan
    table = draw_sample(plan, fragments, columns)
    if table is None:
        return plan
    kept = [name for name in columns if not _is_left_out(plan, table, schema, name)]
    sample = sample_of(table.select(kept))
    found = configured_formulas(config.formulas, sample)
    ordered = configured_inequalities(config.inequalities, sample)
    if config.discover:
        found = discover(sample, found, config.ignore)
        ordered += find_inequalities(sample, found, ordered, config.ignore)
    formulas = {
        column: tuple(with_nulls(formula, column, sample) for formula in formulas)
        for column, formulas in found.items()
    }
    return replace(plan, constraints=formulas, inequalities=tuple(ordered))


def with_constraints_of(plan: PreparePlan, encoder: TableEncoder) -> PreparePlan:
    """Return a plan with the constraints of an encoder."""
    formulas = {
        column.name: column.formulas
        for column in encoder.columns
        if isinstance(column, DerivedColumn)
    }
    return replace(plan, constraints=formulas, inequalities=encoder.inequalities)


def _searchable(plan: PreparePlan, schema: pa.Schema) -> list[str]:
    """Return the modelled columns that are neither lists nor pixels of images."""
    images = image_columns(plan.data, schema)
    pixels = {name for names in images.values() for name in names}
    return [
        name
        for name in plan.modelled
        if name not in pixels
        and plan.representations[name] != "lists"
        and plan.data.kind_of(name) != LEAVE_OUT
        and arrow.family(schema.field(name).type) != "nothing"
    ]


def draw_sample(
    plan: PreparePlan, fragments: Sequence[Fragment], columns: Sequence[str]
) -> pa.Table | None:
    """Draw training rows from all over the dataset; return None if there are none.

    Args:
        plan: How rows are read and divided.
        fragments: All fragments.
        columns: Columns to return.
    """
    chosen = evenly_spaced(fragments, SAMPLED_FRAGMENTS)
    rng = np.random.default_rng(0)
    parts = []
    for fragment in chosen:
        try:
            divided = divide_fragment(plan, fragment)
        except pa.ArrowInvalid as error:
            file_fault(plan.data, error)  # raises unless such files are set aside
            continue
        rows = np.flatnonzero(divided.codes == SPLITS.index("train"))
        rows = rng.permutation(rows)[: SAMPLE_ROWS // len(chosen)]
        part = divided.table.select(columns).take(pa.array(rows))
        plain = []
        for name in columns:
            cells, _ = as_trained(part.column(name), plan.types[name])
            plain.append(arrow.as_type(cells, arrow.plain(plan.types[name])))
        parts.append(pa.Table.from_arrays(plain, names=list(columns)))
    table = pa.concat_tables(parts) if parts else None
    if table is None or not table.num_rows:
        return None
    # Searches look at the first rows before all: these are from all fragments, too.
    return table.take(pa.array(rng.permutation(table.num_rows)))


def _is_left_out(
    plan: PreparePlan, table: pa.Table, schema: pa.Schema, name: str
) -> bool:
    """Return whether a column is constant or no variable, judging by the sample."""
    if plan.is_left_out_period(name):
        return True
    type = schema.field(name).type
    cells = to_cells(table.column(name), type, plan.representations[name])
    max_distinct = max_exact(plan.data, len(plan.modelled), plan.representations[name])
    sketch = sketch_column(cells, type, max_distinct)
    if sketch.distinct == 1 and not sketch.missing or sketch.missing == sketch.rows:
        return True
    if plan.data.kind_of(name) is not None:
        return False
    return isinstance(infer_column(name, type, sketch, plan.data), LeftOut)
