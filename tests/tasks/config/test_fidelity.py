from tasks.config.fidelity import FidelityConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(FidelityConfig, {"rows": 0}, "greater than 0")
    assert_refused(FidelityConfig, {"confidence": 0}, "greater than 0")
