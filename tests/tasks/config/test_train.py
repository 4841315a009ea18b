from tasks.config.train import TrainConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(TrainConfig, {"trim": 0.6}, "less than or equal to 0.5")
    assert_refused(TrainConfig, {"warmup_ratio": 1}, "less than 1")
    assert_refused(TrainConfig, {"init_from": "best"}, "'scratch' or 'champion'")
