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


def test_other_families_are_refused() -> None:
    made = random_density("made")
    with pytest.raises(ValueError, match="train with model.family eonade"):
        impute_table(made, sample_table(made, 3, seed=1))
    eonade = random_density("eonade")
    rows = sample_table(eonade, 3, seed=1)
    with pytest.raises(ValueError, match="method must be one of"):
        impute_table(eonade, rows, method="mode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        impute_table(eonade, rows, confidence=1.0)
