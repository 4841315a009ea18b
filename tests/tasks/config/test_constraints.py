import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config.constraints import ConstraintConfig, ConstraintsConfig


def test_auto_none_and_lists_are_short_forms() -> None:
    total = {"column": "total", "equals": "fare + tip"}
    parse = ConstraintsConfig.model_validate
    assert parse("auto") == ConstraintsConfig()
    assert parse("none") == ConstraintsConfig(discover=False)
    listed = parse([total])
    assert not listed.discover
    assert listed.add == (ConstraintConfig(column="total", equals="fare + tip"),)
    assert listed.columns == ("total", "fare", "tip")
    both = parse({"add": [total], "ignore": ["day"]})
    assert both.discover
    assert both.columns == ("total", "fare", "tip", "day")


def test_a_single_key_of_a_function_may_stand_alone() -> None:
    constraint = ConstraintConfig.model_validate({"column": "g", "function_of": "s"})
    assert constraint.function_of == ("s",)
    assert constraint.parents == ("s",)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({}, "needs exactly one of equals, function_of, part, .*, got none"),
        ({"at_most": "a", "below": 0}, "got at_most, below"),
        ({"at_least": "x"}, "compares the column with itself"),
        ({"equals": "a", "prefix_of": "b"}, "got equals, prefix_of"),
        ({"part": "hour"}, "needs of as well"),
        ({"prefix_of": "b"}, "needs length as well"),
        ({"part": "hour", "of": "t", "zone": "Mars/X"}, "not a time zone of the IANA"),
        ({"equals": "a +"}, "not an arithmetic expression"),
        ({"function_of": ["a"], "clock": True}, "constant_by and clock belong to"),
        ({"equals": "x + a"}, "computes the column from itself"),
        ({"function_of": ["a", "b", "c"]}, "at most 2"),
    ],
)
def test_a_wrong_constraint_is_refused(
    constraint: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        ConstraintConfig.model_validate({"column": "x", **constraint})


def test_constraints_that_go_in_a_circle_are_refused() -> None:
    circle = [{"column": "a", "equals": "b + 1"}, {"column": "b", "equals": "a - 1"}]
    with pytest.raises(ValidationError, match="compute 'a' from itself"):
        ConstraintsConfig.model_validate(circle)


def test_inequalities_stand_among_the_constraints() -> None:
    listed = ConstraintsConfig.model_validate(
        {
            "add": [
                {"column": "start", "at_most": "end"},
                {"column": "end", "at_most": "start"},
                {"column": "amount", "at_least": 0},
                {"column": "day", "below": datetime.date(2026, 1, 1)},
                {"column": "total", "equals": "a + b"},
            ],
            "ignore": ["low <= high", "x>=y", "z"],
        }
    )
    keys = [(each.comparison, each.side) for each in listed.inequalities]
    assert keys[0] == ("at_most", "end")
    assert keys[2] == ("at_least", 0)
    assert keys[3] == ("below", datetime.date(2026, 1, 1))
    assert [each.column for each in listed.formulas] == ["total"]
    named = "start end amount day total a b low high x y z"
    assert listed.columns == tuple(named.split())
