from ar_models.scoring.choices import DEFAULT_STATISTIC, STATISTICS
from tasks.config.score import ScoreConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(ScoreConfig, {"fdr": 0.1, "budget": 9}, "got fdr and budget")
    assert_refused(ScoreConfig, {"threshold": 100}, "less than 100")
    assert_refused(ScoreConfig, {"statistic": "peak"}, "'combined', ")


def test_every_statistic_can_be_chosen() -> None:
    for statistic in STATISTICS:
        assert ScoreConfig(statistic=statistic).statistic == statistic
    assert ScoreConfig().statistic == DEFAULT_STATISTIC
