import math
from datetime import datetime

import pyarrow as pa
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.scoring import explanation
from tests.support.densities import odd_row, score_table
from tests.support.inequalities import ordered_density


@pytest.mark.parametrize(
    ("column", "cell", "shown"),
    [
        ("carrier", "ZZ", "ZZ"),
        ("carrier", None, "missing"),
        ("delay", 5000, "5000"),
        ("time", datetime(1970, 1, 1), "1970-01-01 00:00:00"),
        ("time", None, "missing"),
        ("amount", math.inf, "inf"),
        ("amount", 1e30, "1e+30"),
    ],
)
def test_the_odd_cell_is_blamed_first(
    density: TableDensity, column: str, cell: object, shown: str
) -> None:
    (scored,) = score_table(density, odd_row(**{column: cell})).to_pylist()
    blamed = scored["explanation"][0]
    assert (blamed["column"], blamed["value"]) == (column, shown)
    assert scored["severity"] > 90
    assert math.isfinite(scored["log_prob"])


def test_a_cell_out_of_support_contributes_its_surprisal(density: TableDensity) -> None:
    (scored,) = score_table(
        density, odd_row(carrier="ZZ"), statistic="excess"
    ).to_pylist()
    assert scored["explanation"][0]["contribution"] == pytest.approx(math.log(3 * 1002))


def expectation(density: TableDensity, column: str, **cells: object) -> str:
    (scored,) = score_table(density, odd_row(**cells), explain_columns=4).to_pylist()
    found = {entry["column"]: entry["expected"] for entry in scored["explanation"]}
    return str(found[column])


def test_expected_codes_have_the_models_probabilities(density: TableDensity) -> None:
    x = torch.from_numpy(density.encoder.encode(odd_row()).x)
    with torch.inference_mode():
        shares = density.model.conditionals(x).probabilities(0)[0].tolist()
    named = sorted(zip(shares, ["UA", "AA", "B6"], strict=True), reverse=True)
    words = ", ".join(f"{name} ({100 * share:.0f} %)" for share, name in named)
    assert expectation(density, "carrier") == words


def test_expected_numbers_are_median_and_interval_in_own_units(
    density: TableDensity,
) -> None:
    x = torch.from_numpy(density.encoder.encode(odd_row()).x)
    with torch.inference_mode():
        given = density.model.conditionals(x)
        low, middle, high = (int(given.quantile(q)[0, 2]) for q in (0.05, 0.5, 0.95))
    text = expectation(density, "delay")
    assert text.endswith(f"about {middle}, 90 % in {low} to {high}")


def test_a_missing_number_is_told_from_the_regular_state(density: TableDensity) -> None:
    # What stands after the state of the same column must not show in what is expected.
    assert expectation(density, "delay", delay=None) == expectation(density, "delay")
    assert expectation(density, "amount", amount=0.0) == expectation(density, "amount")


def test_expected_days_are_dates(density: TableDensity) -> None:
    text = expectation(density, "time", time=datetime(1990, 1, 1))
    assert text.startswith("about 20")
    assert "90 % in 20" in text


def test_a_text_is_told_in_one_line() -> None:
    assert explanation.text("To be,\nor not\r\n") == "To be,↵or not"
    assert explanation.text("") == ""


def test_a_violated_inequality_is_named() -> None:
    density = ordered_density("made")
    rows = pa.table({"low": [4, 1], "kind": ["x", "x"], "high": [2, 2]})
    broken, fine = score_table(density, rows, explain_columns=3)["explanation"]
    named = {entry["column"]: entry["expected"] for entry in broken.as_py()}
    text = "low <= high, which holds in 99 % of the training rows, is violated"
    assert named["high"].endswith(f"; {text}")
    assert text not in named["low"]
    assert "violated" not in str(fine.as_py())


@pytest.mark.parametrize("statistic", ["excess", "density", "surplus", "tail", "ratio"])
def test_a_violated_inequality_counts_in_every_statistic(statistic: str) -> None:
    density = ordered_density("made")
    row = pa.table({"low": [4], "kind": ["x"], "high": [2]})
    (with_weight,) = score_table(density, row, statistic=statistic)["anomaly_score"]
    weight = density.encoder.inequalities[0].log_weight
    density.encoder = density.encoder.without_weights()
    (without,) = score_table(density, row, statistic=statistic)["anomaly_score"]
    more = with_weight.as_py() - without.as_py()
    assert more == pytest.approx(-weight, abs=0.5)
