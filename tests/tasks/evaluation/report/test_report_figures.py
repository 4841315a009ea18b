import numpy as np
import pytest

from ar_models.scoring.conformal import Rule
from tasks.evaluation import evaluate
from tasks.evaluation.report.report_figures import score_threshold
from tasks.runtime.model_store import load
from tests.support.model_pair import ModelPair


@pytest.mark.parametrize(
    ("rule", "flagged"), [(Rule.of(90, None, None), None), (Rule.of(None, None, 9), 9)]
)
def test_a_rule_gives_the_threshold_of_scores(
    pair: ModelPair, rule: Rule, flagged: int | None
) -> None:
    density = load(pair.models["strong"])
    rows = evaluate.read_rows(pair.evaluations["strong"].path)
    threshold = score_threshold(density, rows, rule)
    above = rows["anomaly_score"].to_numpy() >= threshold
    if flagged is None:
        assert np.mean(above) == pytest.approx(0.1, abs=0.06)
    else:
        assert above.sum() == flagged
