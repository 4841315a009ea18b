import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from tests.support.densities import (
    impute_table,
    random_density,
    sample_table,
    with_holes,
)


@pytest.fixture(scope="module")
def gaps(agnostic: TableDensity) -> pa.Table:
    """Return rows with empty cells, and a column that is not modelled."""
    rows = with_holes(agnostic, sample_table(agnostic, 400, seed=2))
    note = pa.array([None, "x"] * 200)
    return rows.append_column("note", note)


def test_observed_cells_stay_and_empty_ones_are_filled(
    agnostic: TableDensity, gaps: pa.Table
) -> None:
    for method in ("draw", "median", "mean"):
        filled = impute_table(agnostic, gaps, method=method, seed=1)
        assert filled.schema.equals(gaps.schema)
        for name in agnostic.columns:
            assert gaps[name].null_count > 0
            assert filled[name].null_count == 0
            known = gaps[name].is_valid()
            assert filled[name].filter(known).equals(gaps[name].filter(known))
        assert filled["note"].equals(gaps["note"])


def test_families_with_an_ordering_fill_all_cells_and_keep_the_others() -> None:
    made = random_density("made", ordering="random", orderings=2)
    gaps = with_holes(made, sample_table(made, 60, seed=2))
    for method in ("draw", "median", "mean"):
        filled = impute_table(made, gaps, method=method, seed=1, details=True)
        for name in made.columns:
            assert filled[name].null_count == 0
            known = gaps[name].is_valid()
            assert filled[name].filter(known).equals(gaps[name].filter(known))
        for row, cells in zip(
            gaps.to_pylist(), filled["imputed"].to_pylist(), strict=True
        ):
            empty = {name for name in made.columns if row[name] is None}
            assert {cell["column"] for cell in cells} == empty
            for cell in cells:
                is_category = cell["column"] == "carrier"
                assert (cell["probability"] is not None) == is_category
                assert (cell["low"] is None) == (is_category or method == "draw")
    again = impute_table(made, gaps, method="mean", seed=1, details=True)
    assert filled.equals(again)


def test_what_cannot_be_imputed_is_refused() -> None:
    vae = random_density("vae")
    with pytest.raises(ValueError, match="VAE has only a bound .* another model.fam"):
        impute_table(vae, sample_table(vae, 3, seed=1))
    eonade = random_density("eonade")
    rows = sample_table(eonade, 3, seed=1)
    with pytest.raises(ValueError, match="method must be one of"):
        impute_table(eonade, rows, method="mode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        impute_table(eonade, rows, confidence=1.0)
