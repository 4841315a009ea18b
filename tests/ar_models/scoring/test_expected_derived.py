import numpy as np
import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from ar_models.scoring.expected_derived import rate_text
from ar_models.scoring.expected_values import percent
from tests.support.constraints import fares, fares_density
from tests.support.densities import score_table


@pytest.fixture(scope="module")
def eonade() -> TableDensity:
    return fares_density("eonade")


def expectations(density: TableDensity, **cells: object) -> dict[str, str]:
    row = fares().slice(0, 1).to_pylist()[0] | {"fare": 5, "tip": 2, "total": 7}
    table = pa.Table.from_pylist([row | cells], fares().schema)
    (scored,) = score_table(density, table, explain_columns=13).to_pylist()
    return {entry["column"]: entry["expected"] for entry in scored["explanation"]}


def test_a_violated_constraint_is_named_with_its_rate(eonade: TableDensity) -> None:
    found = expectations(eonade, total=8, paid=6)
    assert found["total"] == "7 = fare + tip (holds in all training rows)"
    column = eonade.encoder.columns[0]
    share = 100 * column.candidates[0].matches / column.rows  # type: ignore[attr-defined]  # it is a derived column
    assert f"8 = total (holds in {share:.4g} % of the training rows)" in found["paid"]
    assert "else " in found["paid"]


def test_constraints_that_hold_are_expected_with_their_probabilities(
    eonade: TableDensity,
) -> None:
    found = expectations(eonade, paid=7)
    assert found["total"] == "7 = fare + tip (>99 %)"
    assert found["paid"].startswith("7 = total (")
    assert "holds" not in found["paid"]


def test_the_value_without_constraint_is_that_of_the_plain_column(
    eonade: TableDensity,
) -> None:
    held = expectations(eonade, paid=7)["paid"].split("else ", 1)[1]
    violated = expectations(eonade, paid=6)["paid"].split("else ", 1)[1]
    assert "about" in held
    assert held == violated


def test_an_undefined_constraint_is_not_expected(eonade: TableDensity) -> None:
    found = expectations(eonade, town="z", kind=2)
    assert (
        found["level"] == "function of town and kind (no training row has both values)"
    )


def test_a_violation_of_what_always_held_is_blamed_first(eonade: TableDensity) -> None:
    table = fares().slice(0, 1)
    place = table.column_names.index("grade")
    wrong = table.set_column(
        place, "grade", pa.array(["A" if table["grade"][0].as_py() != "A" else "B"])
    )
    (scored,) = score_table(eonade, wrong, statistic="surprisal").to_pylist()
    assert scored["explanation"][0]["column"] == "grade"
    assert np.isfinite(scored["anomaly_score"])


def test_rates_are_never_rounded_up_to_all_rows() -> None:
    assert rate_text(0.99999) == "holds in >99.99 % of the training rows"
    assert rate_text(0.9998) == "holds in 99.98 % of the training rows"
    assert percent(0.999) == ">99 %"
    assert percent(0.001) == "<1 %"
