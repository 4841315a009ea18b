from typing import Any

import numpy as np
import pytest

from tasks.config.constraints import ConstraintConfig
from tasks.data.constraints.candidate import evaluate
from tasks.data.constraints.configured import configured_formulas, formula_of
from tests.support.planted import ROWS, fare_columns, sample

RNG = np.random.default_rng(0)
START, LATE = RNG.integers(0, 1440, ROWS), RNG.integers(0, 300, ROWS)
END = (START + LATE) % 1440
FARES = fare_columns(wrong=4)
SAMPLE = sample(
    **FARES,
    size=np.char.str_len(FARES["kind"]),
    start=START // 60 * 100 + START % 60,
    late=LATE,
    end=END // 60 * 100 + END % 60,
    time=RNG.integers(0, 10**8, ROWS).astype("datetime64[s]"),
    grade=np.array(list("dna"))[RNG.integers(0, 3, ROWS)],
)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"column": "total", "equals": "fare"}, "fare"),
        ({"column": "total", "equals": "fare * 2 + 1"}, "2 * fare + 1"),
        ({"column": "late", "equals": "start // 100"}, "start // 100"),
        ({"column": "total", "equals": "2 * exp(tip / 4)"}, "2 * exp(0.25 * tip)"),
        ({"column": "late", "part": "hour", "of": "time"}, "hour of time"),
        (
            {"column": "grade", "prefix_of": "kind", "length": 1},
            "first 1 character of kind",
        ),
        ({"column": "size", "function_of": ["kind"]}, "function of kind"),
        (
            {"column": "end", "equals": "start + late", "clock": True},
            "start + late (clock time, modulo 24 hours)",
        ),
    ],
)
def test_constraints_become_formulas(given: dict[str, Any], text: str) -> None:
    formula = formula_of(ConstraintConfig.model_validate(given), SAMPLE)
    assert formula.describe() == text


def test_constants_of_categories_are_learned() -> None:
    constraint = ConstraintConfig(
        column="total", equals="fare + tip + tolls + extra", constant_by="kind"
    )
    (formula,) = configured_formulas([constraint], SAMPLE)["total"]
    candidate = evaluate(SAMPLE, "total", formula)
    assert int(candidate.matched.sum()) == ROWS - 4


def test_the_value_is_rounded_to_the_decimals_of_the_column() -> None:
    constraint = ConstraintConfig(column="tip", equals="fare / 3", rounding="floor")
    (formula,) = configured_formulas([constraint], SAMPLE)["tip"]
    assert formula.decimals == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"column": "extra", "function_of": "tolls"}, "in most of its rows"),
        ({"column": "kind", "equals": "fare"}, "in none of 2,000 training rows"),
        ({"column": "late", "part": "hour", "of": "fare"}, r"late \(int64\), fare"),
        ({"column": "end", "equals": "kind", "clock": True}, "'kind' has the type"),
        ({"column": "total", "equals": "nothing"}, "'nothing', which the constraint"),
        ({"column": "end", "equals": "start * late", "clock": True}, "sums of columns"),
    ],
)
def test_constraints_that_do_not_fit_the_data_are_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        configured_formulas([ConstraintConfig.model_validate(given)], SAMPLE)
