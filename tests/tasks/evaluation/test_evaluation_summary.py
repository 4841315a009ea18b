from typing import Any

from tasks.evaluation.evaluation_summary import metrics


def test_measures_that_are_known_become_metrics() -> None:
    found: dict[str, Any] = {
        "nll": 1.0,
        "bits_per_dim": 2.0,
        "independent_nll": 3.0,
        "gain": 2.0,
        "p_value_ks": None,
        "columns": [{"ks": 0.1}, {"ks": 0.3}],
        "detection": {"auroc": 0.9, "auprc": None},
        "segments": [{"column": "c", "values": [{"value": "<x>", "nll": 4.0}]}],
    }
    assert metrics(found) == {
        "test/nll": 1.0,
        "test/bits_per_dim": 2.0,
        "test/independent_nll": 3.0,
        "test/gain": 2.0,
        "test/calibration_ks": 0.3,
        "test/auroc": 0.9,
        "test/segment_nll/c/_x_": 4.0,
    }
    assert metrics({**found, "p_value_ks": 0.2})["test/p_value_ks"] == 0.2
