import json

import numpy as np
import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.data.cells import representation_of, to_cells
from tasks.data.division import PreparePlan
from tasks.data.fit import fit_encoder
from tasks.data.sketches import sketch_column
from tasks.data.survey import Constancy, Survey, is_constant

N = 300


def fit_table(table: pa.Table, **settings: object) -> TableEncoder:
    """Fit an encoder to all rows of a table, as the job prepare does."""
    data = DataConfig.model_validate({"path": "", **settings})
    names = tuple(table.column_names)
    kinds = {n: c.kind for n, c in data.columns.items()}
    bases = {
        n: representation_of(table.schema.field(n).type, kinds.get(n)) for n in names
    }
    plan = PreparePlan(data, names, names, bases)
    survey = Survey()
    for half in (table.slice(0, len(table) // 2), table.slice(len(table) // 2)):
        part = Survey()
        for name in names:
            type = table.schema.field(name).type
            cell = to_cells(half.column(name), type, bases[name])
            part.sketches[name] = sketch_column(cell, type, 65536)
            first = half.column(name).slice(0, 1).combine_chunks()
            part.constancies[name] = Constancy(is_constant(cell), first)
        survey.add(part, plan)
    encoder, entries = fit_encoder(survey, plan, table.schema)
    json.dumps(entries)
    return TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))


def pixels(high: int, seed: int = 0, rows: int = N) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, (rows, 12)).astype(np.uint8)


def words(seed: int = 0, rows: int = N) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcé"), rng.integers(1, 7))) for _ in range(rows)]


FIXED = pa.list_(pa.uint8(), 12)
