import math
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from ar_models.density.table_density import TableDensity
from tests.support.densities import holes, random_density, sample_table


def test_given_values_stand_in_every_row(agnostic: TableDensity) -> None:
    given = {"delay": 7, "amount": 0.1}

    rows = sample_table(agnostic, 200, seed=1, given=given)

    assert rows.schema.equals(sample_table(agnostic, 1, seed=1).schema)
    assert set(rows["delay"].to_pylist()) == {7}
    assert set(rows["amount"].to_pylist()) == {0.1}  # to the bit
    assert len(set(rows["carrier"].to_pylist())) == 3
    assert rows.slice(0, 150).equals(sample_table(agnostic, 150, seed=1, given=given))


def test_none_says_that_a_value_is_missing(agnostic: TableDensity) -> None:
    rows = sample_table(agnostic, 50, seed=1, given={"delay": None, "carrier": "AA"})

    assert rows["delay"].null_count == 50
    assert rows["amount"].null_count < 50


def test_any_cells_of_a_table_can_be_given(agnostic: TableDensity) -> None:
    whole = sample_table(agnostic, 300, seed=5)
    rng = np.random.default_rng(0)
    given = pa.table(
        {
            "amount": holes(whole["amount"], rng),
            "key": pa.array(range(300)),
            "time": holes(whole["time"], rng),
            "carrier": holes(whole["carrier"], rng).cast(
                pa.dictionary(pa.int8(), pa.string())
            ),
            "year": pa.array([1999] * 300, pa.int16()),
        }
    )

    rows = sample_table(agnostic, 300, seed=1, given=given, log_prob=True)

    assert rows.column_names == [*whole.column_names, "key", "log_prob"]
    assert rows.schema.types[:5] == whole.schema.types
    for name in ("amount", "time", "carrier"):
        known = given[name].is_valid()
        there = given[name].cast(rows[name].type).filter(known)
        assert rows[name].filter(known).equals(there)
        assert 0 < pc.sum(known).as_py() < 300
    assert rows["time"].null_count == rows["carrier"].null_count == 0
    assert rows["key"].to_pylist() == list(range(300))
    assert set(rows["year"].to_pylist()) == {1999}
    assert rows["log_prob"].null_count == 0


def test_nulls_are_free_unless_said_to_be_missing(agnostic: TableDensity) -> None:
    given = pa.table({"delay": pa.nulls(400, pa.int64()), "carrier": ["UA"] * 400})

    free = sample_table(agnostic, 400, seed=1, given=given)
    gone = sample_table(agnostic, 400, seed=1, given=given, missing=["delay"])

    assert 0 < free["delay"].null_count < 400
    assert gone["delay"].null_count == 400


def test_completions_follow_the_conditional(agnostic: TableDensity) -> None:
    # Chi-square with 2 degrees of freedom: above 28 with odds of 1e-6.
    given = {"delay": 40, "time": datetime(2013, 1, 5, 7, 30), "amount": 0.0}
    rows = sample_table(agnostic, 4000, seed=3, given=given)
    x = agnostic.encoder.encode(rows.slice(0, 1)).x
    known = torch.from_numpy(~np.isnan(x))
    known[:, 0] = False  # and what is absent, which follows from its state
    conditional = agnostic.model.conditionals_given(torch.from_numpy(x), known)
    expected = 4000 * conditional.probabilities(0)[0].detach().numpy()

    codes = agnostic.encoder.encode(rows).x[:, 0].astype(int)
    observed = np.bincount(codes, minlength=3)

    assert float(((observed - expected) ** 2 / expected).sum()) < 28


def test_first_columns_can_be_given_to_every_family(made: TableDensity) -> None:
    rows = sample_table(made, 100, seed=1, given={"carrier": "B6", "delay": 3})

    assert set(rows["carrier"].to_pylist()) == {"B6"}
    assert set(rows["delay"].to_pylist()) == {3}
    missing = sample_table(made, 100, seed=1, given={"carrier": "B6", "delay": None})
    assert missing["delay"].null_count == 100


def test_an_ordering_that_starts_with_them_takes_later_columns() -> None:
    density = random_density("made", ordering=[[3, 1, 0, 2], [1, 3, 2, 0]], orderings=2)

    rows = sample_table(density, 100, seed=1, given={"amount": 5.5, "delay": 3})

    assert set(rows["amount"].to_pylist()) == {5.5}
    alone = sample_table(density, 100, seed=1, given={"delay": 3})
    assert set(alone["delay"].to_pylist()) == {3}


def test_later_columns_are_given_to_every_family_with_an_ordering(
    made: TableDensity,
) -> None:
    given = {"amount": 5.5, "delay": 3}

    rows = sample_table(made, 40, seed=1, given=given)

    assert set(rows["amount"].to_pylist()) == {5.5}
    assert set(rows["delay"].to_pylist()) == {3}
    assert len(set(rows["time"].to_pylist())) > 30
    assert rows.equals(sample_table(made, 40, seed=1, given=given))
    assert not rows.equals(sample_table(made, 40, seed=2, given=given))


def test_rows_keep_their_places_whatever_is_given(made: TableDensity) -> None:
    carriers = ["UA", None, "AA", None] * 10
    amounts = [None, 5.5, None, 2.5] * 10
    given = pa.table({"amount": amounts, "carrier": carriers, "key": range(40)})

    rows = sample_table(made, 40, seed=1, given=given)

    assert rows["key"].to_pylist() == list(range(40))
    assert rows["carrier"].to_pylist()[::2] == carriers[::2]
    assert rows["amount"].to_pylist()[1::2] == amounts[1::2]


def test_a_bound_conditions_on_nothing(made: TableDensity) -> None:
    with pytest.raises(ValueError, match="VAE cannot condition on any column"):
        sample_table(random_density("vae"), 10, seed=1, given={"carrier": "UA"})
    free = pa.table({"amount": pa.nulls(2, pa.float64()), "carrier": ["UA", "AA"]})
    assert sample_table(made, 2, seed=1, given=free)["carrier"].to_pylist() == [
        "UA",
        "AA",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"carrier": "XX"}, r"'carrier', row 0: 'XX' is given, .* one of UA, AA, B6"),
        ({"carrier": None}, "'carrier', row 0: a missing value is given, which never"),
        ({"delay": 2**40}, "'delay', row 0: 1099511627776 is given, which never"),
        ({"delay": "late"}, r"column 'delay' holds int64, got 'late'"),
        ({"amount": math.inf}, "'amount', row 0: inf is given, which never"),
        ({"year": 2013}, r"column 'year' is left out \(constant\)"),
        ({"dest": "JFK"}, "column 'dest' is unknown, .* modelled are carrier, delay"),
    ],
)
def test_what_cannot_be_given_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_table(random_density("eonade"), 10, seed=1, given=given)


def test_the_row_of_a_bad_cell_is_named(agnostic: TableDensity) -> None:
    carriers = ["UA"] * 5000
    carriers[4990] = "XX"
    with pytest.raises(ValueError, match="column 'carrier', row 4990: 'XX' is given"):
        sample_table(agnostic, 5000, seed=1, given=pa.table({"carrier": carriers}))
    with pytest.raises(ValueError, match="3 rows are given for 4 to draw"):
        sample_table(agnostic, 4, seed=1, given=pa.table({"carrier": carriers[:3]}))
