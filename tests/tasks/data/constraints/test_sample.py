import numpy as np
import pyarrow as pa
import pytest

from tests.support.planted import sample


def test_missing_cells_have_the_last_code() -> None:
    column = sample(a=pa.array([2.5, None, float("nan"), 1.5, 2.5])).columns["a"]
    assert column.codes.tolist() == [1, 2, 2, 0, 1]
    assert column.missing.tolist() == [False, True, True, False, False]
    assert column.distinct == 2
    assert column.counts.tolist() == [1, 2, 2]


def test_equal_words_have_equal_codes_whatever_their_dictionary() -> None:
    array = pa.chunked_array(
        [
            pa.array(["b", "a"]).dictionary_encode(),
            pa.array(["a", "c"]).dictionary_encode(),
        ]
    )
    column = sample(a=array).columns["a"]
    assert column.codes.tolist() == [1, 0, 0, 2]
    assert column.is_text


@pytest.mark.parametrize("decimals", [0, 1, 2, 6, 11])
def test_the_grid_of_reals_is_found_despite_some_exceptions(decimals: int) -> None:
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(50, 9, 1000), decimals)
    values[:5] = rng.normal(50, 9, 5)
    column = sample(a=values).columns["a"]
    assert column.decimals == decimals
    assert column.step == 10.0**-decimals


def test_irrational_numbers_have_no_grid() -> None:
    column = sample(a=np.random.default_rng(0).normal(size=1000)).columns["a"]
    assert column.decimals is None
    assert column.step == 0


def test_surprisals_are_code_lengths_of_the_own_frequencies() -> None:
    column = sample(a=["x", "x", "x", "y"]).columns["a"]
    np.testing.assert_allclose(column.surprisal, -np.log([0.75, 0.75, 0.75, 0.25]))
    assert column.is_mode.tolist() == [True, True, True, False]
