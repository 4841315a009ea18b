"""Rows of which a part is given: exact, unchanged, and refused where it must be."""

import math
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.families import registry
from tests.support.densities import sample_table
from tests.support.tables import table_encoder

SETTINGS: dict[str, dict[str, Any]] = {
    "made": {"hidden": 32, "components": 4},
    "eonade": {"hidden": 32, "components": 4, "orderings": 2},
    "transformer": {
        "hidden": 16,
        "layers": 1,
        "heads": 2,
        "components": 4,
        "ordering": "random",
        "order_agnostic": True,
    },
    "vae": {"latent": 2, "hidden": 16, "samples": 4},
}


def build(family: str, **more: Any) -> TableDensity:
    """Return a density of `table_encoder`'s rows with random weights."""
    torch.manual_seed(0)
    encoder = table_encoder()
    model = registry.build(family, encoder.variables, **(SETTINGS[family] | more))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return TableDensity(encoder, model)


@pytest.fixture(scope="module", params=["eonade", "transformer"])
def agnostic(request: pytest.FixtureRequest) -> TableDensity:
    """Return a density that conditions on any columns."""
    return build(request.param)


@pytest.fixture(scope="module")
def made() -> TableDensity:
    """Return a density that conditions on first columns only."""
    return build("made")


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


def holes(column: pa.ChunkedArray, rng: np.random.Generator) -> pa.Array:
    """Empty a third of the cells of a column."""
    gone = pa.array(rng.random(len(column)) < 1 / 3)
    return pc.if_else(gone, pa.scalar(None, column.type), column).combine_chunks()


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
    density = build("made", ordering=[[3, 1, 0, 2], [1, 3, 2, 0]], orderings=2)

    rows = sample_table(density, 100, seed=1, given={"amount": 5.5, "delay": 3})

    assert set(rows["amount"].to_pylist()) == {5.5}
    alone = sample_table(density, 100, seed=1, given={"delay": 3})
    assert set(alone["delay"].to_pylist()) == {3}


def test_others_are_refused_with_what_would_do(made: TableDensity) -> None:
    message = (
        r"given are delay, amount, but no ordering of this model starts with them "
        r"\(the first of 1: carrier, delay, time, amount\); train with "
        r"model.family eonade, or transformer with order_agnostic: true, which "
        r"condition on any columns, or with model.ordering: \[delay, amount\]"
    )
    with pytest.raises(ValueError, match=message):
        sample_table(made, 10, seed=1, given={"amount": 5.5, "delay": 3})
    with pytest.raises(ValueError, match="this family cannot condition on any"):
        sample_table(build("vae"), 10, seed=1, given={"carrier": "UA"})
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
        sample_table(build("eonade"), 10, seed=1, given=given)


def test_the_row_of_a_bad_cell_is_named(agnostic: TableDensity) -> None:
    carriers = ["UA"] * 5000
    carriers[4990] = "XX"
    with pytest.raises(ValueError, match="column 'carrier', row 4990: 'XX' is given"):
        sample_table(agnostic, 5000, seed=1, given=pa.table({"carrier": carriers}))
    with pytest.raises(ValueError, match="3 rows are given for 4 to draw"):
        sample_table(agnostic, 4, seed=1, given=pa.table({"carrier": carriers[:3]}))


def test_rare_categories_can_be_given_but_unknown_ones_cannot() -> None:
    from ar_models.tables.code_column import CodeColumn
    from ar_models.tables.encoder import TableEncoder
    from ar_models.variables import Variable

    column = CodeColumn(
        "town",
        "categorical",
        "string",
        1000,
        (Variable("town", "categorical", 0, size=3),),
        values=("A", "B"),
        specials=("rare",),
        rare=("C", "D"),
        rare_counts=(1, 1),
    )
    encoder = TableEncoder((column,), (), pa.schema([("town", pa.string())]))
    density = TableDensity(
        encoder, registry.build("eonade", encoder.variables, hidden=4)
    )

    rows = sample_table(density, 30, seed=1, given={"town": "C"})

    assert set(rows["town"].to_pylist()) == {"C"}
    with pytest.raises(ValueError, match="'E' is given"):
        sample_table(density, 3, seed=1, given={"town": "E"})


def test_temperature_and_top_p_sharpen_the_rows(agnostic: TableDensity) -> None:
    plain = sample_table(agnostic, 500, seed=1)

    assert sample_table(agnostic, 500, seed=1, temperature=1.0, top_p=1.0).equals(plain)
    cold = sample_table(agnostic, 500, seed=1, temperature=0.3)
    narrow = sample_table(agnostic, 500, seed=1, top_p=0.5)
    # Their shares are about 0.5 and 0.2.
    common, seldom = (
        [t["carrier"].to_pylist().count(name) for t in (plain, cold, narrow)]
        for name in ("UA", "B6")
    )
    assert common[1] > common[0] + 50
    assert seldom[1] < seldom[0] / 2
    assert seldom[2] < seldom[0] / 4
