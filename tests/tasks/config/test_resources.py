from tasks.config.resources import Resources
from tests.support.sections import assert_refused


def test_values_out_of_bounds_are_refused() -> None:
    assert_refused(Resources, {"gpus_per_process": 1e-5}, "0 or at least 0.0001")
    assert_refused(Resources, {"workers": 0}, "greater than 0")


def test_the_number_of_workers_may_be_a_range() -> None:
    fixed, elastic = Resources(workers=3), Resources(workers={"min": 2, "max": 16})
    assert (fixed.min_workers, fixed.max_workers) == (3, 3)
    assert (elastic.min_workers, elastic.max_workers) == (2, 16)
    assert Resources.model_validate_json(elastic.model_dump_json()) == elastic
    assert_refused(Resources, {"workers": {"min": 3, "max": 2}}, "must not exceed max")
    assert_refused(Resources, {"workers": {"min": 3}}, "needs the keys min and max")
    assert_refused(Resources, {"workers": {"min": 0, "max": 2}}, "greater than 0")
