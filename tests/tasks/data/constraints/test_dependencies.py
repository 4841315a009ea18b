import numpy as np
import pyarrow as pa

from tasks.data.constraints.dependencies import dependencies, lookup_candidate
from tests.support.planted import ROWS, sample, texts

RNG = np.random.default_rng(0)


def test_a_function_of_one_column_is_found_with_its_exceptions() -> None:
    city = RNG.integers(0, 40, ROWS)
    country = np.array([f"land{c % 7}" for c in city])
    country[::400] = "nowhere"
    given = sample(city=city, country=country, other=RNG.integers(0, 40, ROWS))
    found = list(dependencies(given))
    assert texts(found) == {"country = function of city"}
    assert int(found[0].matched.sum()) == ROWS - 5


def test_a_function_of_two_columns_is_none_of_each() -> None:
    origin, dest = RNG.integers(0, 3, ROWS), RNG.integers(0, 30, ROWS)
    miles = (origin * 131 + dest * dest * 17) % 997
    given = sample(origin=origin, dest=dest, miles=miles)
    assert "miles = function of origin and dest" in texts(dependencies(given))
    assert texts(dependencies(given, ignored=["origin", "dest", "miles"])) == set()


def test_keys_that_hardly_repeat_determine_nothing() -> None:
    key = RNG.permutation(ROWS) // 2
    given = sample(key=key, value=RNG.integers(0, 3, ROWS))
    assert texts(dependencies(given)) == set()


def test_a_row_is_predicted_from_other_rows_only() -> None:
    given = sample(key=["a", "a", "b", "b", "c"], value=["x", "x", "y", "z", "x"])
    key, value = given.columns["key"], given.columns["value"]
    candidate = lookup_candidate(given, value, [key], certain=True)
    assert candidate is not None
    assert candidate.matched.tolist() == [True, True, False, False, False]
    array = candidate.formula.evaluate({"key": key.array}, pa.string())
    assert array.to_pylist() == ["x", "x", None, None, None]


def test_a_rare_key_determines_what_has_about_as_many_values() -> None:
    key = RNG.integers(0, ROWS // 6, ROWS)
    given = sample(postcode=key, state=key % 5, price=key * 7 % 331)
    found = texts(dependencies(given))
    assert "price = function of postcode" in found
    assert "state = function of postcode" not in found
