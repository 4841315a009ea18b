"""Nulls of formulas: values of the derived column, or undefined results."""

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from ar_models.tables.formulas.formula import Formula, NullableFormula
from tasks.data.constraints.sample import Sample

MIN_RATE = 0.98
"""Share of the rows with a null of the formula in which the cell is null, too."""


def with_nulls(formula: Formula, column: str, sample: Sample) -> Formula:
    """Return a formula that counts nulls as values if the column is null with it.

    So `dep_time = sched_dep_time + dep_delay` also says that the time is null where the
    delay is.

    Args:
        formula: The formula.
        column: Name of the derived column.
        sample: A sample of the training rows.
    """
    if not isinstance(formula, NullableFormula):
        return formula
    target = sample.columns[column]
    cells = {name: sample.columns[name].array for name in formula.columns}
    null = np.asarray(pc.is_null(formula.evaluate(cells, target.type)))
    if not null.any():
        return formula
    is_null = np.asarray(pc.is_null(target.array))
    return replace(formula, null_is_value=bool(is_null[null].mean() >= MIN_RATE))
