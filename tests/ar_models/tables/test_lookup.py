import numpy as np
import pytest

from ar_models.tables.lookup import lookup


@pytest.mark.parametrize("known", [[5, 3, 9], [5, 3, 10**9], [0.5, 0.25, 7.0], []])
def test_values_are_found_at_their_places_and_others_are_not(
    known: list[float],
) -> None:
    values = np.array([*reversed(known), -4, 8])
    expected = [*reversed(range(len(known))), -1, -1]
    array = np.array(known, values.dtype)
    assert lookup(array, values).tolist() == expected
