import re
from typing import Any

import numpy as np
import pytest

from tasks.config.monitor import MonitorConfig
from tasks.monitoring import drift_report
from tasks.monitoring.histograms import UNIT, Histogram, Scale
from tasks.monitoring.reference import NEW, SPECIALS, Reference
from tests.support.sketching import fit
from tests.support.tables import small_table

SCALES = (Scale((0.0, 1.0), SPECIALS), Scale((), ("a", "b", "missing", NEW)))


def histograms(rows: int, share: float) -> tuple[Histogram, ...]:
    """Return the histograms of rows of which a share has code `a`, the rest is new."""
    a = round(share * rows)
    codes = Histogram(np.array([a, 0, 0, rows - a]), np.zeros(4))
    half = np.resize([0.25, 0.75], rows)
    return SCALES[0].count(half), codes, UNIT.count((np.arange(rows) + 0.5) / rows)


def summarized(old: int, new: int, share: float = 1.0, **config: Any) -> dict[str, Any]:
    """Return the report on `new` rows, of which a share is like `old` ones."""
    encoder = fit(small_table(100).select(["kind"]))
    known = Reference(old, SCALES, ((),), histograms(old, 1.0))
    settings = MonitorConfig(resamples=50, **config)
    return drift_report.summarize(encoder, known, histograms(new, share), settings)


def test_a_changed_column_is_drift() -> None:
    found = summarized(3000, 3000, 0.7)
    assert found["verdict"] == "drift"
    assert found["reasons"][0].startswith("marginal distribution of kind: ks 0.3 (")
    assert found["reasons"][0].endswith(" is above 0.1")
    (column,) = found["columns"]
    assert column["out_of_support"] == [0.0, pytest.approx(0.3)]
    assert "chainrule calibrate" in found["remedy"]
    metrics = found["metrics"]
    assert metrics["drift/marginal_ks/kind"] == pytest.approx(0.3)
    assert (metrics["drift/rows"], metrics["drift/found"]) == (3000, 1)


def test_limits_and_ignored_columns_decide_what_is_drift() -> None:
    assert summarized(3000, 3000, 0.7, ignore=("kind",))["verdict"] == "stable"
    loose = summarized(3000, 3000, 0.7, max_ks=0.5, max_psi=None)
    assert (loose["verdict"], loose["remedy"]) == ("stable", None)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (3000, 60, "60 rows are too few to detect drift; at least 100 are needed"),
        (60, 3000, "60 calibration rows of the model are too few .*split.calibration"),
    ],
)
def test_a_few_rows_are_no_drift(old: int, new: int, reason: str) -> None:
    found = summarized(old, new, 0.0)
    assert found["verdict"] == "unclear"
    (given,) = found["reasons"]
    assert re.match(reason, given)


def test_what_chance_alone_can_cause_is_named() -> None:
    caution = summarized(150, 3000)["caution"]
    assert "150 calibration rows, chance alone can cause" in caution
    assert caution.endswith("until there are more calibration rows")
    assert summarized(3000, 3000)["caution"] is None
