from tasks.config.sample import SampleConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(SampleConfig, {"temperature": float("inf")}, "finite number")
    assert_refused(SampleConfig, {"top_p": 1.1}, "less than or equal to 1")
    assert_refused(SampleConfig, {"precision": "fp8"}, "'fp32' or 'bf16'")
