from tasks.config.replay import ReplayConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(ReplayConfig, {"window": 0}, "greater than 0")
    assert_refused(ReplayConfig, {"rows_per_file": 0}, "greater than 0")
