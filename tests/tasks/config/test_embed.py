from tasks.config.embed import EmbedConfig
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(EmbedConfig, {"rows_per_fragment": 0}, "greater than 0")
    assert_refused(EmbedConfig, {"carry": ["a"]}, "Extra inputs")
