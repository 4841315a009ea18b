import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ar_models.density.table_density import TableDensity
from ar_models.tables.ranges import rare_atoms, rows_outside, within_range
from tests.support.densities import sample_table
from tests.support.models import perturbed
from tests.support.sketching import fit

ROWS = 600


def example() -> pa.Table:
    """Return a column of each kind of numbers, a date, and lists."""
    rng = np.random.default_rng(0)
    start = np.datetime64("2024-03-01T08:00:00")
    return pa.table(
        {
            "count": rng.integers(10, 500, ROWS),
            "price": rng.lognormal(3, 1, ROWS).round(2),
            "share": rng.normal(size=ROWS),
            "day": pa.array(start + rng.integers(0, 10**6, ROWS)),
            "list": pa.array(rng.integers(5, 300, (ROWS, 2)).tolist()),
        }
    )


def sampled(table: pa.Table, **settings: Any) -> pa.Table:
    """Sample from a model that has learned nothing."""
    encoder = fit(table, **settings)
    model = perturbed("made", encoder.variables, 0.5, hidden=16, components=2)
    return sample_table(TableDensity(encoder, model), 300, seed=0)


def test_samples_stay_in_the_range_of_the_training_rows() -> None:
    table = example()
    drawn = sampled(table)
    assert drawn.schema.equals(table.schema)
    for name in table.column_names:
        known, new = table[name], drawn[name]
        if name == "list":
            known, new = pc.list_flatten(known), pc.list_flatten(new)
        assert pc.min(known).as_py() <= pc.min(new).as_py(), name
        assert pc.max(known).as_py() >= pc.max(new).as_py(), name


def test_configured_bounds_replace_those_of_the_training_rows() -> None:
    day = datetime.date(2024, 3, 5)
    settings = {"count": {"min": 100}, "price": {"max": 9.5}, "day": {"max": day}}
    drawn = sampled(example(), columns=settings)
    assert pc.min(drawn["count"]).as_py() >= 100
    assert pc.max(drawn["price"]).as_py() <= 9.5
    assert pc.max(drawn["day"]).as_py().date() <= day


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": {"min": 900}}, "columns.count: the least value .* above"),
        ({"day": {"min": 5}}, "columns.day.min: 5 is not a valid bound .* give a date"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit(example(), columns=settings)


def test_cells_outside_become_the_nearest_end_and_given_ones_stay() -> None:
    table = example()
    encoder = fit(table)
    far = table.slice(0, 2).set_column(0, "count", pa.array([3, 9000]))
    assert rows_outside(encoder, far).tolist() == [True, True]
    given = pa.table({"count": pa.array([3, None])})
    assert rows_outside(encoder, far, given).tolist() == [False, True]
    near = within_range(encoder.columns[0], far["count"].combine_chunks(), pa.int64())
    ends = pc.min_max(table["count"]).as_py()
    assert near.to_pylist() == [ends["min"], ends["max"]]


def test_the_far_value_of_few_rows_is_not_drawn() -> None:
    rng = np.random.default_rng(0)
    born = np.datetime64("1990-01-01") + rng.integers(0, 3000, ROWS)
    born[0], born[1:31] = np.datetime64("1907-03-05"), np.datetime64("1800-01-01")
    pay = rng.lognormal(10, 0.3, ROWS).round()
    pay[:2], pay[2:30] = 9e9, -1e9
    table = pa.table({"born": pa.array(born).cast(pa.date32()), "pay": pay})
    encoder = fit(table)
    few = rare_atoms(encoder, 5)
    assert {name: len(values) for name, values in few.items()} == {"born": 1, "pay": 1}
    assert rare_atoms(encoder, 1) == {}
    model = perturbed("made", encoder.variables, 0.5, hidden=16, components=2)
    density = TableDensity(encoder, model)
    for least, is_drawn in ((5, False), (1, True)):
        drawn = sample_table(density, 20_000, seed=0, min_category_count=least)
        assert (datetime.date(1907, 3, 5) in drawn["born"].to_pylist()) == is_drawn
        assert (9e9 in drawn["pay"].to_pylist()) == is_drawn
        assert datetime.date(1800, 1, 1) in drawn["born"].to_pylist()
        assert -1e9 in drawn["pay"].to_pylist()
