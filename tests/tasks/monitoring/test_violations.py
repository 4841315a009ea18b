import json
import math
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ar_models.density.table_density import TableDensity
from tasks.config.monitor import MonitorConfig
from tasks.monitoring import drift_page, drift_report, reference
from tasks.monitoring.reference import Reference
from tasks.monitoring.violations import ViolationRate, increase_p_value
from tests.support.constraints import fares, fares_density
from tests.support.inequalities import ordered_density, ordered_table

CONFIG = MonitorConfig(resamples=20, max_ks=None, max_psi=None)


@pytest.fixture(scope="module")
def density() -> TableDensity:
    found = fares_density("independent")
    found.calibration = found.reference_scores(fares(800, seed=5))
    return found


@pytest.fixture(scope="module")
def known(density: TableDensity) -> Reference:
    return reference.build(density, lambda: [fares(800, seed=5)])


def summarized(
    density: TableDensity, known: Reference, table: pa.Table, **config: object
) -> drift_report.Json:
    batch = reference.count(density, known, table, np.random.default_rng(0))
    settings = CONFIG.model_copy(update=config)
    result = drift_report.summarize(density.encoder, known, batch, settings)
    about = {"model": {}, "input": "new"}
    assert "Constraints" in drift_page.render("key", about | result, known, batch)
    return json.loads(json.dumps(result))


def test_rows_like_the_calibration_rows_keep_the_constraints(
    density: TableDensity, known: Reference
) -> None:
    result = summarized(density, known, fares(800, seed=6))
    assert result["verdict"] == "stable"
    rates = {entry["column"]: entry for entry in result["constraints"]}
    assert len(rates) == 6
    assert rates["total"]["violations"] == [0, 0]
    assert rates["total"]["rows"] == [800, 800]
    assert rates["paid"]["constraint"] == "= total or fare"
    assert rates["paid"]["rates"] == pytest.approx([0.13, 0.13], abs=0.05)


def test_new_violations_are_drift_of_the_constraint(
    density: TableDensity, known: Reference
) -> None:
    table = fares(800, seed=6)
    wrong = pc.add(table["total"], pa.array([1] * 10 + [0] * 790))
    table = table.set_column(table.column_names.index("total"), "total", wrong)
    result = summarized(density, known, table)
    assert result["verdict"] == "drift"
    assert result["reasons"] == [
        "constraint total = fare + tip: violated in 10 of 800 rows (1.25 %), 0 % of "
        "the calibration rows"
    ]
    assert result["metrics"]["drift/violations/total"] == pytest.approx(0.0125)
    assert summarized(density, known, table, ignore=("total",))["verdict"] == "stable"


def test_the_p_value_is_that_of_the_likelihood_ratio() -> None:
    assert increase_p_value((5, 5), (100, 100)) == 1
    assert increase_p_value((5, 0), (100, 100)) == 1
    # By hand: of 0 and 10 events in 100 rows each, 5 % together.
    half = 100 * math.log(1 / 0.95) + 10 * math.log(2) + 90 * math.log(0.9 / 0.95)
    expected = 1 - NormalDist().cdf(math.sqrt(2 * half))
    assert increase_p_value((0, 10), (100, 100)) == pytest.approx(expected)
    assert increase_p_value((0, 1), (1000, 10)) < 0.01


def test_small_increases_of_frequent_violations_do_not_matter() -> None:
    rows = (10**7, 10**7)
    rate = ViolationRate("a", "b", True, (10**6, 10**6 + 9000), rows, 1e-9)
    assert not rate.is_drift(0.01)
    assert ViolationRate("a", "b", True, (0, 9), rows, 1e-5).is_drift(0.01)


def test_violations_of_inequalities_are_drift() -> None:
    density = ordered_density("independent", wrong=2)
    rows = ordered_table(800, seed=5, wrong=0)
    density.calibration = density.reference_scores(rows)
    known = reference.build(density, lambda: [rows])
    kept = summarized(density, known, ordered_table(800, seed=6, wrong=0))
    assert kept["constraints"][0]["violations"] == [0, 0]
    assert kept["verdict"] == "stable"
    result = summarized(density, known, ordered_table(800, seed=6, wrong=10))
    assert result["reasons"] == [
        "constraint low <= high: violated in 10 of 800 rows (1.25 %), 0 % of the "
        "calibration rows"
    ]
