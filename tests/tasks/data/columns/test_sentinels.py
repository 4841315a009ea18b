import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.columns import Column
from ar_models.tables.encoder import TableEncoder
from tests.support.sketching import fit

ROWS = 1500


def columns_of(values: np.ndarray | pa.Array) -> tuple[Any, TableEncoder, pa.Table]:
    """Fit an encoder to a column beside another; return the column, too."""
    table = pa.table({"n": values, "other": np.arange(ROWS) % 7})
    encoder = fit(table)
    column: Column = encoder.columns[0]
    return column, encoder, table


@pytest.mark.parametrize("share", [0.004, 0.6])
@pytest.mark.parametrize("sentinel", [-9999.0, 1e30])
def test_far_reals_that_repeat_are_atoms(sentinel: float, share: float) -> None:
    rng = np.random.default_rng(0)
    prices = rng.lognormal(3, 1, ROWS).round(2)
    values = np.where(rng.random(ROWS) < share, sentinel, prices)
    column, encoder, table = columns_of(values)
    assert sentinel in column.atoms
    assert 0 < column.range[0] < column.range[1] <= prices.max()
    assert encoder.decode(encoder.encode(table).x)["n"].equals(table["n"])


@pytest.mark.parametrize("sentinel", [-9999, 2**40])
def test_far_integers_that_repeat_are_atoms(sentinel: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.poisson(50, ROWS)
    values[:3] = sentinel
    column, encoder, table = columns_of(values)
    assert column.atoms == (sentinel,) and column.radices == ()
    assert encoder.labels(0) == ["regular", str(sentinel)]
    assert encoder.decode(encoder.encode(table).x)["n"].equals(table["n"])


def test_a_single_far_number_is_no_atom() -> None:
    values = np.random.default_rng(0).poisson(50, ROWS)
    values[0] = 10**6
    column, _, _ = columns_of(values)
    assert column.atoms == () and column.range[1] == 10**6


def test_a_sentinel_may_hold_most_rows() -> None:
    rng = np.random.default_rng(0)
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(int(d)) for d in range(ROWS)]
    end = datetime.date(9999, 12, 31)
    cells = [end if rng.random() < 0.6 else day for day in days]
    column, encoder, table = columns_of(pa.array(cells))
    assert encoder.labels(0) == ["regular", "9999-12-31"]
    assert encoder.decode(encoder.encode(table).x)["n"].equals(table["n"])


def test_the_first_moment_that_python_knows_may_be_a_sentinel() -> None:
    seconds = 1_700_000_000 + np.random.default_rng(0).integers(0, 10**7, ROWS)
    moments = (seconds * 10**6).astype("M8[us]")
    moments[:30] = np.datetime64("0001-01-01")
    cells = pa.array(moments).cast(pa.timestamp("us", "UTC"))
    column, encoder, table = columns_of(cells)
    assert len(column.atoms) == 1
    assert encoder.decode(encoder.encode(table).x)["n"].equals(table["n"])
