import json

import numpy as np
import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from tests.support.columns import N, discrete_arrays, fit_columns, with_nulls


def test_an_encoder_survives_its_own_json() -> None:
    rng = np.random.default_rng(6)
    table = pa.table({n: with_nulls(a, rng) for n, a in discrete_arrays(3).items()})
    reals = np.where(rng.random(N) < 0.2, np.inf, rng.normal(size=N))
    table = table.append_column("real", pa.array(reals))
    encoder = fit_columns(table)
    text = json.dumps(encoder.to_dict(), allow_nan=False)
    again = TableEncoder.from_dict(json.loads(text))
    assert again.fingerprint == encoder.fingerprint
    assert again.columns == encoder.columns
    assert again.schema == encoder.schema
    np.testing.assert_array_equal(again.encode(table).x, encoder.encode(table).x)
