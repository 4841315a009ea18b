from tasks.config.evaluate import EvaluateConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(EvaluateConfig, {"budget": 1.5}, "share below 1 or a whole number")
    assert_refused(EvaluateConfig, {"budget": 0}, "greater than 0")
    assert_refused(EvaluateConfig, {"confidence": 1}, "less than 1")
