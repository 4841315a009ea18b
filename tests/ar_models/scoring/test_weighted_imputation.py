"""Imputation by weights: constraints hold, points follow the exact distribution."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from ar_models.density.table_density import TableDensity
from tests.support.columns import fit_columns
from tests.support.constraints import fares, fares_encoder
from tests.support.densities import impute_table, with_holes
from tests.support.models import perturbed


@pytest.fixture(scope="module")
def constrained() -> TableDensity:
    encoder = fares_encoder(fares())
    model = perturbed("made", encoder.variables, 0.1, hidden=24, components=2)
    return TableDensity(encoder, model)


@pytest.mark.parametrize("method", ["draw", "median"])
def test_imputed_rows_keep_constraints(constrained: TableDensity, method: str) -> None:
    gaps = with_holes(constrained, fares().slice(0, 40))

    filled = impute_table(constrained, gaps, method=method, seed=1)

    for name in constrained.columns:
        known = gaps[name].is_valid()
        assert filled[name].filter(known).equals(gaps[name].filter(known))
    assert filled["fare"].null_count == filled["total"].null_count == 0
    sums = pc.add(filled["fare"], filled["tip"])
    computed = gaps["total"].is_null()
    assert filled["total"].filter(computed).equals(sums.filter(computed))
    if method == "draw":  # all cells of a row are drawn together
        assert filled["total"].equals(sums)


def test_a_row_that_contradicts_itself_stays_null(constrained: TableDensity) -> None:
    rows = fares().slice(0, 2)
    empty = pa.array([None, None], rows["note"].type)
    place = rows.column_names.index("total")
    wrong = pc.if_else(pa.array([True, False]), 10**6, rows["total"])
    gaps = rows.set_column(place, "total", wrong.cast(rows["total"].type))
    gaps = gaps.set_column(rows.column_names.index("note"), "note", empty)

    filled = impute_table(constrained, gaps, seed=1)

    assert filled["note"].null_count == 0  # what is out of support is unknown
    assert filled["total"].equals(gaps["total"])


def test_points_and_probabilities_are_those_by_enumeration() -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "kind": rng.choice(["a", "b", "c"], 800),
            "count": rng.integers(0, 30, 800),
            "flag": rng.choice(["no", "yes"], 800),
        }
    )
    encoder = fit_columns(table)
    model = perturbed("made", encoder.variables, 0.4, hidden=24, components=2)
    density = TableDensity(encoder, model)
    every = pa.table(
        {
            "kind": np.repeat(["a", "b", "c"], 30),
            "count": np.tile(np.arange(30), 3),
            "flag": ["yes"] * 90,
        }
    )
    with torch.inference_mode():
        log_prob = model.log_prob(torch.from_numpy(encoder.encode(every).x))
    share = log_prob.double().softmax(0).numpy().reshape(3, 30)
    gaps = pa.table(
        {
            "kind": pa.nulls(200, pa.string()),
            "count": pa.nulls(200, pa.int64()),
            "flag": ["yes"] * 200,
        }
    )

    found = impute_table(density, gaps, method="median", seed=1, details=True)
    drawn = impute_table(density, gaps, method="draw", seed=1)

    kinds = found["kind"].to_pylist()
    top = "abc"[share.sum(1).argmax()]
    assert kinds.count(top) > 150
    told = [
        cell["probability"]
        for cells in found["imputed"].to_pylist()
        for cell in cells
        if cell["column"] == "kind"
    ]
    assert np.mean(told) == pytest.approx(share.sum(1).max(), abs=0.05)
    cdf = share.sum(0).cumsum()
    middle = np.median(found["count"].to_numpy())
    assert 0.35 < cdf[int(middle)] and cdf[max(int(middle) - 1, 0)] < 0.65
    mean = share.sum(0) @ np.arange(30)
    spread = np.sqrt(share.sum(0) @ np.square(np.arange(30) - mean))
    error = abs(drawn["count"].to_numpy().mean() - mean)
    assert error < 5 * spread / np.sqrt(200) + 0.02 * spread
