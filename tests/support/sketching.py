"""Sketches of arrays, and encoders fitted to all rows of a table."""

import json
from typing import Any

import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.data.cells import Cells, representation_of, to_cells
from tasks.data.division import PreparePlan
from tasks.data.fit import fit_encoder
from tasks.data.sketches import sketch_column
from tasks.data.survey import Constancy, Survey, is_constant


def cells_of(array: pa.Array | pa.ChunkedArray, kind: str | None = None) -> Cells:
    """Return the cells of a column whose kind is not configured, or `kind`."""
    column = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return to_cells(column, array.type, representation_of(array.type, kind))


def sketched(
    array: pa.Array | pa.ChunkedArray, max_distinct: int = 1 << 14
) -> Any:  # a sketch of the array's type
    """Return the sketch of a column, all of whose values are training rows."""
    return sketch_column(cells_of(array), array.type, max_distinct)


def fit(table: pa.Table, **settings: object) -> TableEncoder:
    """Return the encoder that `prepare` would fit if all rows were training rows."""
    data = DataConfig.model_validate({"path": "", **settings})
    names = tuple(table.column_names)
    kinds = {name: column.kind for name, column in data.columns.items()}
    types = {name: table.schema.field(name).type for name in names}
    representations = {n: representation_of(t, kinds.get(n)) for n, t in types.items()}
    plan = PreparePlan(data, names, names, representations, types)
    survey = Survey()
    for half in (table.slice(0, len(table) // 2), table.slice(len(table) // 2)):
        part = Survey()
        for name, type in types.items():
            cells = cells_of(half[name], kinds.get(name))
            part.sketches[name] = sketch_column(cells, type, 1 << 16)
            first = half[name].slice(0, 1).combine_chunks()
            part.constancies[name] = Constancy(is_constant(cells), first)
        survey.add(part, plan)
    encoder, entries = fit_encoder(survey, plan, table.schema)
    json.dumps(entries)
    return TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
