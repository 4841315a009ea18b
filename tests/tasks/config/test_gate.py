from tasks.config.gate import GateConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(GateConfig, {"min_diversity": 2}, "less than or equal to 1")
    assert_refused(GateConfig, {"load_check": "all"}, "'none', 'process' or 'clean'")
    assert_refused(GateConfig, {"segment_margin": 0}, "greater than 0")
