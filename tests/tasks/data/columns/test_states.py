import pyarrow as pa
import pytest

from tasks.data.columns.states import smoothed_shares, state_variable
from tests.support.sketching import sketched


def test_shares_are_never_zero_and_sum_to_one() -> None:
    shares = smoothed_shares([3, 0])
    assert shares == pytest.approx((3.5 / 4, 0.5 / 4))


def test_regular_values_need_no_state() -> None:
    assert state_variable("a", sketched(pa.array([1.0, 2.0])), {}) == ((), None)


def test_states_are_those_that_occur_and_the_atoms() -> None:
    sketch = sketched(pa.array([1.0, None, float("inf"), 0.0, 0.0]))
    names, variable = state_variable("a", sketch, {0.0: 2})
    assert names == ("regular", "missing", "+inf")
    assert variable is not None
    assert (variable.name, variable.size) == ("a.state", 4)
    assert variable.frequencies == smoothed_shares([1, 1, 1, 2])
