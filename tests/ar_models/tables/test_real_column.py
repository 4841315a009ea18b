import math

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.columns import IN_SUPPORT
from tests.support.columns import fit_columns


@pytest.mark.parametrize("type", [pa.float16(), pa.float32(), pa.float64()])
def test_reals_come_back_within_the_stated_error(type: pa.DataType) -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 2, 3000).astype(np.dtype(type.to_pandas_dtype()))
    values[:1200] = 0  # an amount that is often exactly 0
    values[1200:1250] = np.inf
    values[1250:1300] = -np.inf
    values[1300:1350] = np.nan
    mask = np.arange(3000) % 17 == 0
    table = pa.table({"a": pa.array(values, type, mask=mask)})
    encoder = fit_columns(table)
    encoded = encoder.encode(table)
    decoded = encoder.decode(encoded.x)
    assert encoder.columns[0].kind == "real"
    assert decoded.schema.equals(table.schema)
    given, back = (t.column("a").combine_chunks() for t in (table, decoded))
    assert given.is_null().equals(back.is_null())
    before, after = (a.drop_null().to_numpy().astype(float) for a in (given, back))
    np.testing.assert_array_equal(np.isnan(before), np.isnan(after))
    regular = np.isfinite(before) & (before != 0)
    np.testing.assert_array_equal(
        np.nan_to_num(before[~regular]), np.nan_to_num(after[~regular])
    )
    slope = np.exp(-encoded.log_abs_det[~mask, 0][regular])
    z = encoded.x[~mask, encoder.value_variable(0)][regular]
    stated = 2.0**-22 * np.maximum(1, np.abs(z)) * slope
    rounding = np.abs(before[regular]) * np.finfo(type.to_pandas_dtype()).eps
    assert (np.abs(before[regular] - after[regular]) <= stated + rounding).all()


def test_rescaling_a_real_column_changes_its_log_volume_alone() -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random(2000) < 0.3, 0.0, rng.gamma(0.7, 3, 2000))
    before, after = pa.table({"a": values}), pa.table({"a": values * 1024.0})
    one, other = fit_columns(before).encode(before), fit_columns(after).encode(after)
    np.testing.assert_array_equal(one.x, other.x)
    regular = values != 0
    difference = other.log_abs_det[regular, 0] - one.log_abs_det[regular, 0]
    np.testing.assert_allclose(difference, -math.log(1024), atol=1e-9)
    np.testing.assert_array_equal(
        one.log_abs_det[~regular], other.log_abs_det[~regular]
    )


def test_every_finite_real_has_a_finite_score_or_is_out_of_support() -> None:
    encoder = fit_columns(
        pa.table({"a": np.random.default_rng(4).normal(size=500) * 1e-300})
    )
    points = np.array([-1.7e308, -1.0, 0.0, 5e-324, 1e-290, 1.7e308])
    encoded = encoder.encode(pa.table({"a": points}))
    present = encoded.out_of_support[:, 0] == IN_SUPPORT
    assert np.isfinite(encoded.x[present]).all()
    assert np.isnan(encoded.x[~present]).all()
    assert np.isfinite(encoded.log_abs_det).all()


def test_only_values_that_stand_out_are_atoms() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=4000).round(1)
    zeros = np.where(rng.random(4000) < 0.2, 0.05, coarse)
    spread = np.where(rng.random(4000) < 0.02, 1.0, rng.normal(size=4000))
    table = pa.table({"coarse": coarse, "zeros": zeros, "spread": spread})
    columns = fit_columns(
        table, columns={n: {"kind": "real"} for n in table.column_names}
    )
    atoms = [column.to_dict()["atoms"] for column in columns.columns]
    assert atoms == [(), (0.05,), (1.0,)]
