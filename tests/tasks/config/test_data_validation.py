from tasks.config.data_validation import DataValidationConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(DataValidationConfig, {"max_drift": 1.5}, "less than or equal to 1")
    assert_refused(
        DataValidationConfig, {"columns": "shrink"}, "'same', 'grow' or 'any'"
    )
    assert_refused(DataValidationConfig, {"min_rows": 0}, "greater than 0")
