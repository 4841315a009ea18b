import datetime
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.formulas.arithmetic import LinearFormula
from tasks.config.constraints import ConstraintsConfig
from tasks.data.constraints.inequalities import (
    configured_inequalities,
    find_inequalities,
)
from tasks.data.constraints.sample import Sample
from tests.support.planted import ROWS, noise_columns, sample

RNG = np.random.default_rng(0)


def found(rows: Sample, **arguments: Any) -> list[str]:
    formulas = arguments.pop("formulas", {})
    return [i.describe() for i in find_inequalities(rows, formulas, **arguments)]


def ordered(wrong: int = 0) -> dict[str, np.ndarray]:
    low, high = np.sort(RNG.normal(50, 10, (2, ROWS)).round(1), axis=0)
    low[:wrong] = high[:wrong] + 5
    return {"low": low, "high": high}


def test_an_inequality_is_found_with_few_violations_alone() -> None:
    noise = noise_columns(ROWS)
    assert found(sample(**noise)) == []
    for wrong in (0, 2):
        assert found(sample(**ordered(wrong), **noise)) == ["low <= high"]
    assert found(sample(**ordered(10))) == []


def test_what_ranges_others_or_formulas_imply_is_left_out() -> None:
    cells = ordered()
    apart = {"year": RNG.integers(1990, 2020, ROWS), "age": RNG.integers(0, 99, ROWS)}
    assert found(sample(**apart)) == []
    top = cells["high"] + RNG.exponential(9, ROWS).round(1)
    three = found(sample(**cells, top=top))
    assert three == ["low <= high", "high <= top"]
    tip = RNG.exponential(5, ROWS).round(1)
    fares = sample(fare=cells["low"], tip=tip, total=(cells["low"] + tip).round(1))
    formula = LinearFormula((("fare", 1.0), ("tip", 1.0)), decimals=1)
    assert "fare <= total" in found(fares)
    assert "fare <= total" not in found(fares, formulas={"total": (formula,)})


def test_dates_times_and_durations_are_compared_with_their_own_kind() -> None:
    days = RNG.integers(18_000, 19_000, ROWS)
    later = days + RNG.integers(0, 300, ROWS)
    clock = np.sort(RNG.integers(0, 86_400, (2, ROWS)), axis=0)
    given = sample(
        start=pa.array(days.astype(np.int32), pa.date32()),
        end=pa.array(later.astype(np.int32), pa.date32()),
        opened=pa.array(clock[0] * 10**6, pa.time64("us")),
        closed=pa.array(clock[1] * 10**6, pa.time64("us")),
        placed=pa.array(days * 86_400, pa.timestamp("s")),
        paid=pa.array(later * 86_400 + 60, pa.timestamp("s")),
        number=later,
    )
    assert found(given) == ["start <= end", "opened <= closed", "placed <= paid"]


def test_nulls_do_not_count() -> None:
    cells = ordered()
    mask = RNG.random(ROWS) < 0.3
    cells["low"][mask] = 1e9
    given = sample(low=pa.array(cells["low"], mask=mask), high=cells["high"])
    assert found(given) == ["low <= high"]


@pytest.mark.parametrize("text", ["low", "low <= high", "low<=high", "high >= low"])
def test_an_inequality_is_struck_out_by_its_text_or_lesser_column(text: str) -> None:
    given = sample(**ordered())
    assert found(given, ignored=[text]) == []
    assert found(given, ignored=["high", "low <= tip"]) == ["low <= high"]


def test_a_configured_inequality_is_not_found_again() -> None:
    given = sample(**ordered())
    known = configured({"column": "high", "above": "low"}, given)
    assert found(given, given=known) == []


def test_two_hundred_columns_take_seconds() -> None:
    cells = np.sort(RNG.normal(size=(20_000, 8)), axis=1)
    noise = RNG.normal(size=(20_000, 192))
    columns = {f"a{k}": cells[:, k] for k in range(8)}
    columns |= {f"b{k}": noise[:, k] for k in range(192)}
    given = sample(**columns)
    began = time.process_time()
    assert found(given) == [f"a{k} <= a{k + 1}" for k in range(7)]
    assert time.process_time() - began < 60


def configured(constraint: dict[str, Any], given: Sample) -> list[Any]:
    config = ConstraintsConfig.model_validate([constraint])
    assert config.formulas == ()
    return configured_inequalities(config.inequalities, given)


def test_constants_are_numbers_dates_and_timestamps() -> None:
    days = np.arange(18_000, 18_100)
    given = sample(
        n=np.arange(100),
        day=pa.array(days.astype(np.int32), pa.date32()),
        moment=pa.array(days * 86_400, pa.timestamp("s", "Europe/Berlin")),
    )

    def broken(column: str, **side: object) -> int:
        (inequality,) = configured({"column": column, **side}, given)
        return int(inequality.violated(given.cells).sum())

    assert broken("n", at_least=10) == 10
    assert broken("n", above=10) == 11
    assert broken("n", below=90) == 10
    first = datetime.date(1970, 1, 1) + datetime.timedelta(days=18_010)
    assert broken("day", at_least=first) == 10
    assert broken("day", above=first) == 11
    # The first ten are 1 or 2 in the morning of their day in Berlin.
    assert broken("moment", at_least=first) == 10
    assert broken("moment", above=first) == 11


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"column": "low", "at_most": "wrong"}, "'wrong', which an inequality of"),
        ({"column": "low", "at_most": "word"}, r"'word' \(string\) cannot be compared"),
        ({"column": "low", "at_most": "day"}, r"'day' \(date32.* cannot be compared"),
        ({"column": "low", "at_least": "high"}, "low >= high holds in .* rows only"),
        ({"column": "day", "at_least": 5}, "give a column of this type or a date"),
        ({"column": "low", "above": datetime.date(2020, 1, 1)}, "or a number"),
        ({"column": "word", "above": 5}, "give a column of this type"),
    ],
)
def test_an_inequality_that_does_not_fit_is_refused(
    constraint: dict[str, Any], message: str
) -> None:
    words = np.array(["a", "b"] * (ROWS // 2))
    day = pa.array(np.arange(ROWS, dtype=np.int32), pa.date32())
    with pytest.raises(ValueError, match=f"data.constraints: .*{message}"):
        configured(constraint, sample(**ordered(), word=words, day=day))
