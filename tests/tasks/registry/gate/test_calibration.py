from dataclasses import replace

import numpy as np

from tasks.config.gate import GateConfig
from tasks.evaluation import distances
from tasks.evaluation.checks import conclude
from tasks.registry.gate.calibration import (
    check_calibration,
    check_recalibration,
    check_uniformity,
    is_recalibrated,
    ks_quantile,
)
from tasks.registry.gate.predictions import Predictions
from tasks.runtime import model_store
from tests.support.model_pair import ModelPair

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


def test_p_values_that_are_not_uniform_need_approval(
    predictions: Predictions, pair: ModelPair
) -> None:
    density = model_store.load(pair.models["strong"])
    assert predictions.p_values is not None
    (honest,) = check_uniformity(predictions, density, SETTINGS)
    assert honest.passed
    small = replace(predictions, p_values=predictions.p_values**8)
    (failed,) = check_uniformity(small, density, SETTINGS)
    assert not failed.passed
    assert failed.needs_review
    assert "more anomalous than" in failed.remark
    verdict = conclude([honest, failed])
    assert (verdict.passed, verdict.needs_review) == (False, True)
    assert "p-values are not uniform" in verdict.reason
    anything = SETTINGS.model_copy(update={"max_p_value_ks": 1.0})
    assert all(c.passed for c in check_uniformity(small, density, anything))
    assert not list(check_uniformity(replace(small, p_values=None), density, SETTINGS))


def test_other_calibration_rows_must_bring_p_values_nearer_to_uniform(
    predictions: Predictions,
) -> None:
    assert predictions.p_values is not None
    drifted = replace(predictions, p_values=predictions.p_values**8)
    assert check_recalibration(predictions, drifted).passed
    assert not check_recalibration(drifted, predictions).passed
    assert not check_recalibration(predictions, predictions).passed
    without = replace(predictions, p_values=None)
    assert check_recalibration(predictions, without).passed
    assert not check_recalibration(without, predictions).passed


def test_models_that_differ_by_their_calibration_rows_are_told_apart(
    pair: ModelPair,
) -> None:
    strong, weak = (model_store.load(path) for path in pair.models.values())
    recalibrated = replace(strong, calibration={})
    assert is_recalibrated(recalibrated, strong)
    assert not is_recalibrated(weak, strong)


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
