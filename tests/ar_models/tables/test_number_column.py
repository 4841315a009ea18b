import numpy as np
import pyarrow as pa
import pytest

from tests.support.columns import DISCRETE, N, discrete_arrays, fit_columns, with_nulls


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_columns_come_back_exactly(name: str, seed: int) -> None:
    array = discrete_arrays(seed)[name]
    nullable = with_nulls(array, np.random.default_rng(seed))
    table = pa.table({"full": array, "nullable": nullable})
    encoder = fit_columns(table)
    encoded = encoder.encode(table)
    decoded = encoder.decode(encoded.x)
    assert decoded.schema.types == table.schema.types
    assert decoded.to_pydict() == table.to_pydict()
    assert not encoded.out_of_support.any()
    present = ~np.isnan(encoded.x)
    wide = encoded.x[present]
    assert (wide == np.rint(wide)).all() and (np.abs(wide) <= 2**23).all()
    assert (encoded.log_abs_det == np.log1p(-1 / (N + 2))).all()


@pytest.mark.parametrize("seed", range(5))
def test_tables_of_random_columns_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = discrete_arrays(seed)
    chosen = rng.choice(DISCRETE, 8, replace=False).tolist()
    table = pa.table({n: with_nulls(arrays[n], rng) for n in chosen})
    shuffled = table.select(rng.permutation(chosen).tolist())
    chunked = pa.concat_tables([shuffled.slice(0, 100), shuffled.slice(100)])
    encoder = fit_columns(table)
    again = encoder.decode(encoder.encode(chunked).x)
    assert again.column_names == chosen
    assert again.to_pydict() == table.to_pydict()
