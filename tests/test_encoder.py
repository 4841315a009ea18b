import json

import numpy as np
import pyarrow as pa
import pytest

from ar_models.encoder import TableEncoder
from tasks import profile
from tasks.config import DataConfig


def fit(table: pa.Table, **settings: object) -> TableEncoder:
    """The encoder that a table's own rows speak for, with every column kept."""
    data = DataConfig.model_validate({"path": "", **settings})
    columns = []
    for field in table.schema:
        override = data.columns.get(field.name)
        base = profile.base_of(field.type, override.kind if override else None)
        cells = profile.cells_of(table.column(field.name), field.type, base)
        part = profile.sketch(cells, field.type, base, 65536)
        columns.append(profile.infer(field.name, field.type, part, data))
    return TableEncoder(tuple(columns), (), table.schema)


def test_an_encoder_survives_its_own_json() -> None:
    table = pa.table({"a": ["x", "y", None, "x"] * 5, "b": [1.5, 2.25, None, 3.0] * 5})
    encoder = fit(table)
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode(table).x, encoder.encode(table).x)
    assert again.decode(encoder.encode(table).x).equals(
        encoder.decode(encoder.encode(table).x)
    )


def test_a_missing_column_is_named() -> None:
    encoder = fit(pa.table({"a": [1, 2, 3], "b": ["x", "y", "x"]}))
    with pytest.raises(ValueError, match="column 'b' is missing"):
        encoder.encode(pa.table({"a": [1]}))
