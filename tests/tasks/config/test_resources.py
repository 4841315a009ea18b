from tasks.config.resources import Resources
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(Resources, {"gpus_per_process": 1e-5}, "0 or at least 0.0001")
    assert_refused(Resources, {"workers": 0}, "greater than 0")
