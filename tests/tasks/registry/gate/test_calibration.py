from dataclasses import replace

import numpy as np

from tasks.config.gate import GateConfig
from tasks.evaluation import distances
from tasks.registry.gate.calibration import check_calibration, ks_quantile
from tasks.registry.gate.predictions import Predictions

SETTINGS = GateConfig(load_check="none")


def test_worse_calibration_is_refused(predictions: Predictions) -> None:
    assert predictions.p_values is not None
    assert all(c.passed for c in check_calibration(predictions, predictions, SETTINGS))
    squeezed = replace(
        predictions,
        p_values=predictions.p_values / 2,
        ks={**predictions.ks, "count": predictions.ks["count"] + 0.2},
    )
    failed = [
        c for c in check_calibration(squeezed, predictions, SETTINGS) if not c.passed
    ]
    assert [c.name for c in failed] == ["p_values", "calibration"]
    assert "of count" in failed[1].remark
    without = replace(predictions, p_values=None)
    assert not next(iter(check_calibration(without, predictions, SETTINGS))).passed


def test_few_rows_are_allowed_what_happens_by_chance() -> None:
    rng = np.random.default_rng(0)
    bound = ks_quantile(300, 15, 0.95)
    found = [
        max(distances.ks_from_uniform(rng.random(300)) for _ in range(15))
        for _ in range(200)
    ]
    # 0.05 is expected at most; another seed would have more than this by 3 %.
    assert np.mean(np.array(found) > bound) <= 0.08
    assert ks_quantile(50_000, 15, 0.95) < 0.01
