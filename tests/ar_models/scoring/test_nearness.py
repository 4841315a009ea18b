"""Distances to stored training rows: their laws, and the rows that they find."""

import numpy as np
import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from ar_models.scoring.coordinates import Space
from ar_models.scoring.nearness import MIN_ROWS, NEAR_RANK, Nearness, stored_rows
from ar_models.tables.encoder import TableEncoder
from tests.support.columns import fit_columns
from tests.support.constraints import fares_density
from tests.support.densities import awkward_table, sample_table, score_table


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return awkward_table(500)


@pytest.fixture(scope="module")
def encoder(rows: pa.Table) -> TableEncoder:
    return fit_columns(rows)


@pytest.fixture(scope="module")
def nearness(encoder: TableEncoder, rows: pa.Table) -> Nearness:
    found = Nearness.of(encoder, encoder.encode(rows.slice(0, 300)).x)
    assert found is not None
    return found


def test_distances_are_those_of_all_pairs(
    encoder: TableEncoder, rows: pa.Table, nearness: Nearness
) -> None:
    x = encoder.encode(rows.slice(300)).x
    near, wide = nearness.neighbours(x)
    space = nearness.space
    points, stored = space.points(x), nearness.points
    each = [space.squared_differences(p[None], stored).sum(1).sqrt() for p in points]
    blocks = np.stack([d.double().numpy() for d in each]).reshape(
        len(x), -1, nearness.blocks
    )
    least = np.sort(blocks.min(axis=1), axis=1)

    np.testing.assert_allclose(near.distance, least[:, NEAR_RANK - 1], atol=1e-5)
    np.testing.assert_allclose(wide.distance, least.mean(axis=1), atol=1e-4)
    for found in (near, wide):
        np.testing.assert_allclose(found.shares.sum(axis=1), found.distance)
        assert (found.shares >= 0).all()


def test_a_stored_row_is_measured_as_if_it_were_not_stored(
    encoder: TableEncoder, nearness: Nearness
) -> None:
    known = len(nearness.points)
    near, wide = nearness.neighbours(nearness.x[:known])

    assert not (near.rows == np.arange(known)).any()
    assert not (wide.rows == np.arange(known)).any()
    far = nearness.x[:1].repeat(known, axis=0)
    # The copies of one row leave out one of them each, and find the others.
    copies, _ = Nearness(encoder, far).neighbours(far)
    assert (copies.distance == 0).all()
    assert (near.distance > 0).all()


def test_rows_that_occur_often_in_training_have_distance_zero(
    encoder: TableEncoder, rows: pa.Table
) -> None:
    x = encoder.encode(rows.slice(0, 96)).x
    often = Nearness(encoder, np.repeat(x, 6, axis=0))
    near, _ = often.neighbours(x)
    assert (near.distance == 0).all()
    assert (near.shares == 0).all()


def test_batches_do_not_change_distances(
    encoder: TableEncoder, rows: pa.Table, nearness: Nearness
) -> None:
    x = np.tile(encoder.encode(rows).x, (3, 1))
    near, _ = nearness.neighbours(x)
    alone, _ = nearness.neighbours(x[700:703])
    np.testing.assert_allclose(near.distance[700:703], alone.distance, atol=1e-6)


def test_differing_codes_and_states_are_two_apart_in_the_square() -> None:
    few = [f"w{k % 4}" for k in range(400)]
    many = [f"m{k % 80:02}" for k in range(400)]
    table = pa.table(
        {
            "few": few,
            "many": many,
            "number": pa.array(np.arange(400) * 0.37 % 5, mask=np.arange(400) % 7 == 0),
        }
    )
    encoder = fit_columns(table)
    space = Space(encoder, encoder.encode(table).x)

    def squared(one: dict[str, object], other: dict[str, object]) -> list[float]:
        pair = pa.Table.from_pylist([one, other], schema=table.schema)
        points = space.points(encoder.encode(pair).x)
        each = space.squared_differences(points[:1], points[1:])[0].numpy()
        return [float(s) for s in np.add.reduceat(each, space.starts)]

    row = {"few": "w0", "many": "m00", "number": 1.0}
    assert squared(row, row) == [0, 0, 0]
    assert squared(row, row | {"few": "w1"}) == pytest.approx([2, 0, 0])
    assert squared(row, row | {"many": "m07"}) == pytest.approx([0, 2, 0])
    missing = squared(row, row | {"number": None})
    assert missing[2] >= 2
    assert squared(row | {"number": None}, row | {"number": None}) == [0, 0, 0]


def test_a_derived_column_counts_once() -> None:
    density = fares_density("made")
    rows = sample_table(density, 200, seed=1)
    space = Space(density.encoder, density.encoder.encode(rows).x)
    derived = [c.form == "derived" for c in density.encoder.columns]
    exact = [
        j
        for j, column in enumerate(density.encoder.columns)
        if derived[j] and len(column.variables) == 1
    ]
    assert any(derived)
    assert not set(exact) & set(space.columns.tolist())


def test_a_gap_between_groups_is_found_where_margins_are_ordinary() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 3000)
    ring = np.stack([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.02, (2, 3000))
    table = pa.table({"a": ring[0], "b": ring[1]})
    encoder = fit_columns(table)
    nearness = Nearness.of(encoder, encoder.encode(table.slice(0, 2000)).x)
    assert nearness is not None
    ordinary, _ = nearness.neighbours(encoder.encode(table.slice(2000)).x)
    middle = pa.table({"a": [0.0], "b": [0.0]})
    centre, _ = nearness.neighbours(encoder.encode(middle).x)
    assert centre.distance[0] > ordinary.distance.max()


def test_few_rows_or_no_coordinates_give_no_nearness(
    encoder: TableEncoder, rows: pa.Table
) -> None:
    x = encoder.encode(rows).x
    assert Nearness.of(encoder, x[: MIN_ROWS - 1]) is None
    lists = pa.table({"tokens": pa.array([[1, 2], [2, 1]] * 30)})
    only_lists = fit_columns(lists)
    assert Nearness.of(only_lists, only_lists.encode(lists).x) is None


def test_the_store_is_bounded_in_rows_and_in_values() -> None:
    assert stored_rows(1) == stored_rows(100) == 1024
    assert stored_rows(4096) * 4096 <= 2**20
    assert stored_rows(10**8) == 1


def test_explanations_name_the_column_that_is_far(learned: TableDensity) -> None:
    rows = awkward_table(60, seed=5)
    far = rows.set_column(0, "amount", pa.array(np.full(60, 1e6)))
    # The copy follows its column, so that only the pair of them is unusual.
    scored = score_table(learned, far, statistic="nearness", explain="all")
    first = [entry[0]["column"] for entry in scored["explanation"].to_pylist()]
    assert set(first) <= {"amount", "copy"}
