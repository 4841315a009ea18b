from tasks.config.model_card import ModelCardConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(ModelCardConfig, {"licence": "MIT"}, "Extra inputs")
    assert_refused(ModelCardConfig, {"license": 1}, "valid string")
