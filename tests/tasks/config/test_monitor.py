from tasks.config.monitor import MonitorConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(MonitorConfig, {"max_ks": 0}, "greater than 0")
    assert_refused(MonitorConfig, {"confidence": 1}, "less than 1")
