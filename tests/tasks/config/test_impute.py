from tasks.config.impute import ImputeConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(
        ImputeConfig, {"imputations": 2, "method": "mean"}, "need method draw"
    )
    assert_refused(ImputeConfig, {"method": "mode"}, "'draw', 'median'")
