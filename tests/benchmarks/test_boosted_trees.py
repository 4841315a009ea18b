"""Tests of the chain of boosted trees."""

from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from tests.support.scripts import import_script

RNG = np.random.default_rng(0)

STEPS = {"word": 0.0, "number": 1.0, "copy": 1.0}


@pytest.fixture(scope="module")
def trees() -> ModuleType:
    return import_script("boosted_trees")


def table(rows: int) -> pa.Table:
    word = RNG.choice(["a", "b", "c"], rows)
    number = RNG.integers(0, 200, rows)
    null = RNG.random(rows) < 0.1
    copy = pa.array(number, mask=null)
    return pa.table({"word": word, "number": number, "copy": copy})


def test_probabilities_of_all_values_sum_to_one(trees: ModuleType) -> None:
    train = table(1000)
    values = pa.array([*range(200), None])
    other = {"word": ["a"] * 201, "number": [7] * 201}
    test = pa.table({**other, "copy": values})
    order = ["word", "number", "copy"]
    found = trees.chain_log_probs(train, test, order, {"copy": 1.0})
    assert set(found) == {"copy"}
    assert np.exp(found["copy"]).sum() == pytest.approx(1)


def test_a_column_is_learned_from_those_before_it(trees: ModuleType) -> None:
    train, test = table(3000), table(500)
    for order in (["word", "number", "copy"], ["word", "copy", "number"]):
        found = trees.chain_log_probs(train, test, order, STEPS)
        nll = {name: -values.mean() for name, values in found.items()}
        assert nll["word"] == pytest.approx(np.log(3), abs=0.05)
        assert nll[order[1]] > np.log(200) - 0.6
        assert nll[order[2]] < np.log(200) - 1.5


def test_a_constant_column_costs_nothing(trees: ModuleType) -> None:
    rows = pa.table({"a": ["x"] * 50, "b": RNG.integers(0, 3, 50)})
    found = trees.chain_log_probs(rows, rows, ["a", "b"], {"a": 0.0})
    np.testing.assert_allclose(found["a"], 0, atol=1e-12)


def test_values_between_those_of_the_rows_have_their_share(trees: ModuleType) -> None:
    cells = np.arange(0, 1000, 10)
    rows = pa.table({"a": np.tile(cells, 20)})
    wide = trees.chain_log_probs(rows, rows, ["a"], {"a": 1.0})["a"]
    dense = trees.chain_log_probs(rows, rows, ["a"], {"a": 10.0})["a"]
    assert np.exp(dense[:100]).sum() == pytest.approx(1)
    assert 0.9 < np.exp(wide[:100]).sum() < 0.99
