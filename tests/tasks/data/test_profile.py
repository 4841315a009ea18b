from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.config.data import DataConfig
from tasks.data.columns.infer import infer_column
from tasks.data.counts import EmpiricalDistribution
from tasks.data.profile import SHARES, cumulative_shares, describe_column
from tests.support.sketching import sketched


def described(array: pa.Array) -> dict[str, Any]:
    """Return the profile of a column `a`."""
    sketch = sketched(array)
    column = infer_column("a", array.type, sketch, DataConfig(path=""))
    return describe_column(sketch, column, array.type)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array(["x", "y"] * 9), "two values"),
        (pa.array(["x", None] * 9), "one value"),
        (pa.array(["x", "y", "z"] * 9), "3 values"),
        (pa.array([1, 2, 3] * 9), "3 whole numbers"),
        (pa.array([1.5, 2.5, 3.1]), "3 real values"),
        (pa.array([0, 60], pa.timestamp("s")), "a date or time, with minute"),
        (pa.array([[1], [1, 2]] * 9), "lists of 1 to 2 places"),
    ],
)
def test_a_profile_gives_the_reason_for_a_kind(array: pa.Array, reason: str) -> None:
    assert str(described(array)["reason"]).startswith(reason)


def test_frequent_words_are_listed_with_their_counts() -> None:
    top = described(pa.array(["x", "y", "y", "z"] * 9))["top"]
    assert top == [["y", 18], ["x", 9], ["z", 9]]


def test_quantiles_are_in_the_unit_of_the_column() -> None:
    quantiles = described(pa.array([0, 1, 31], pa.date32()))["quantiles"]
    assert (quantiles["0"], quantiles["1"]) == ("1970-01-01", "1970-02-01")


def test_shares_reach_one_at_the_largest_value() -> None:
    values = np.arange(1000)
    pairs = cumulative_shares(EmpiricalDistribution(values, np.ones(1000)))
    assert len(pairs) == SHARES
    assert pairs[-1] == [999, 1.0]
    assert pairs == sorted(pairs)
