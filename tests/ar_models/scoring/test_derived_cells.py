"""Imputation of derived cells, and of cells that follow from derived ones."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ar_models.density.table_density import TableDensity
from ar_models.scoring.choices import ImputationMethod
from tests.support.constraints import fares, fares_density, fares_encoder
from tests.support.densities import impute_table
from tests.support.models import perturbed

TABLE = pc.drop_null(fares(400, seed=9))


@pytest.fixture(scope="module", params=["eonade", "transformer"])
def agnostic(request: pytest.FixtureRequest) -> TableDensity:
    more = {} if request.param == "eonade" else {"order_agnostic": True}
    if more:
        more |= {"ordering": "random"}
    return fares_density(request.param, **more)


def without(table: pa.Table, *names: str) -> pa.Table:
    """Empty all cells of some columns."""
    for name in names:
        place = table.column_names.index(name)
        nothing = pa.nulls(len(table), table.schema.field(name).type)
        table = table.set_column(place, name, nothing)
    return table


@pytest.mark.parametrize("method", ["draw", "median", "mean"])
def test_what_always_held_is_filled_exactly(
    agnostic: TableDensity, method: ImputationMethod
) -> None:
    empty = without(TABLE, "total", "grade", "level")
    filled = impute_table(agnostic, empty, method=method, details=True)
    for name in ("total", "grade", "level"):
        assert filled[name].equals(TABLE[name]), name
    details = filled["imputed"].to_pylist()[0]
    told = {entry["column"]: entry for entry in details}
    assert told["total"]["probability"] == pytest.approx(1)
    if method != "draw":
        total = str(TABLE["total"][0])
        assert (told["total"]["low"], told["total"]["high"]) == (total, total)


def test_a_cell_that_follows_from_a_derived_one_is_solved(
    agnostic: TableDensity,
) -> None:
    filled = impute_table(agnostic, without(TABLE, "tip"), seed=1, details=True)
    assert filled["tip"].equals(TABLE["tip"])
    assert filled["imputed"].to_pylist()[0][0]["probability"] == 1


def test_a_derived_cell_follows_its_filled_parents(agnostic: TableDensity) -> None:
    for method in ("draw", "median"):
        filled = impute_table(agnostic, without(TABLE, "total", "tip"), method=method)
        assert filled["total"].equals(pc.add(filled["fare"], filled["tip"]))


def test_draws_follow_the_gate_where_a_constraint_has_exceptions(
    agnostic: TableDensity,
) -> None:
    rows = TABLE.slice(0, 1).take(pa.array(np.zeros(2000, int)))
    filled = impute_table(agnostic, without(rows, "copy"), seed=3, details=True)
    held = np.asarray(filled["copy"]) == np.asarray(rows["distance"])
    shares = [entry[0]["probability"] for entry in filled["imputed"].to_pylist()]
    expected = next(p for p, h in zip(shares, held, strict=True) if h)
    # Off by more than five standard deviations with odds below 1e-6.
    assert abs(held.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / 2000)
    assert filled["copy"].null_count == 0


def test_points_without_a_constraint_are_those_of_the_plain_column() -> None:
    encoder = fares_encoder(fares())
    settings = {"hidden": 24, "components": 2}
    # Weights of this size make an exception the likeliest in many rows.
    density = TableDensity(
        encoder, perturbed("eonade", encoder.variables, 1.0, **settings)
    )
    filled = impute_table(
        density, without(TABLE, "copy"), method="median", details=True
    )
    entries = [row[-1] for row in filled["imputed"].to_pylist()]
    assert all(entry["column"] == "copy" for entry in entries)
    held = np.asarray(filled["copy"]) == np.asarray(TABLE["distance"])
    for row, entry in enumerate(entries):
        if not held[row]:
            assert float(entry["low"]) <= filled["copy"][row].as_py()
            assert filled["copy"][row].as_py() <= float(entry["high"])
    assert 0 < held.sum() < len(held)


def test_an_undefined_constraint_fills_nothing() -> None:
    density = fares_density("eonade")
    place = TABLE.column_names.index("town")
    strange = TABLE.set_column(place, "town", pa.array(["z"] * len(TABLE)))
    filled = impute_table(density, without(strange, "level"), details=True)
    known = np.asarray(TABLE["kind"]) == 0
    assert np.array_equal(np.asarray(filled["level"].is_valid()), known)


def test_a_known_cell_with_unknown_parents_is_not_conditioned_on() -> None:
    density = fares_density("eonade")
    empty = without(TABLE, "fare", "tip", "paid")
    place = empty.column_names.index("total")
    other = empty.set_column(place, "total", pa.array([9] * len(empty)))
    first = impute_table(density, empty, seed=1)
    assert first["fare"].null_count == 0
    assert first["fare"].equals(impute_table(density, other, seed=1)["fare"])
