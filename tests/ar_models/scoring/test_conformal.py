import numpy as np
import pytest

from ar_models.density.table_density import TableDensity
from ar_models.scoring.conformal import Ranking, Rule, flag_anomalies
from tests.support.densities import odd_row, score_table


def test_p_value_and_severity_count_the_calibration_rows() -> None:
    reference = Ranking.of(np.array([2.0, 5.0, 1.0, 2.0]))
    scores = np.array([0.0, 2.0, 5.0, 6.0])
    p_value, severity = reference.rank(scores)
    assert p_value.tolist() == [1.0, 0.8, 0.4, 0.2]
    assert severity.tolist() == [0.0, 25.0, 75.0, 100.0]
    flagged = flag_anomalies(Rule.of(threshold=75), scores, {"severity": severity})
    assert flagged is not None and flagged.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"fdr": 0.1, "budget": 3}, "only one of threshold, fdr and budget"),
        ({"threshold": 100}, "threshold must lie between 0 and 100"),
        ({"fdr": 1.0}, "fdr must lie between 0 and 1"),
        ({"budget": 1.5}, "a share below 1 or a whole number of rows, got 1.5"),
    ],
)
def test_rules_out_of_range_are_refused(
    density: TableDensity, rule: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        score_table(density, odd_row(), **rule)  # type: ignore[arg-type]


def test_equal_rows_rank_alike_in_spite_of_rounding() -> None:
    reference = Ranking.of(np.array([2.0, 2.0 + 2e-6, 2.0 - 2e-6]))
    p_value, _ = reference.rank(np.array([2.0, 2.0 + 1e-6, 2.0 - 1e-6]))
    assert p_value.tolist() == [1.0, 1.0, 1.0]
