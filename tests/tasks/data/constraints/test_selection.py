import numpy as np

from tasks.data.constraints.selection import ancestors
from tests.support.planted import ROWS, discovered, planted, sample

RNG = np.random.default_rng(0)


def test_one_column_of_each_relation_is_derived() -> None:
    casual, registered = RNG.integers(0, 300, ROWS), RNG.integers(0, 900, ROWS)
    total = casual + registered
    found = discovered(
        sample(casual=casual, registered=registered, total=total, twice=2 * total)
    )
    assert set(found) == {"total", "twice"}
    formulas = {*found["total"], *found["twice"]}
    assert formulas & {"casual + registered", "2 * casual + 2 * registered"}


def test_the_plain_constant_is_preferred_to_its_inverse() -> None:
    net = np.round(RNG.lognormal(4, 1, ROWS), 2)
    vat = np.round(0.19 * net, 2)
    found = discovered(sample(net=net, vat=vat, gross=np.round(net + vat, 2)))
    assert set(found) == {"vat", "gross"}
    assert found["vat"] == ["0.19 * net"]


def test_rows_that_are_left_get_further_formulas() -> None:
    a, b = RNG.integers(0, 9000, (2, ROWS))
    which = RNG.random(ROWS)
    third = RNG.integers(0, 9000, ROWS)
    mixed = np.where(which < 0.5, a, np.where(which < 0.8, b, third))
    given = sample(a=a, b=b, mixed=mixed)
    assert discovered(given, ignored=["a", "b"]) == {"mixed": ["a", "b"]}


def test_what_a_column_is_computed_from_is_found_through_others() -> None:
    parents = {"c": ["b"], "b": ["a"], "x": ["y"]}
    assert ancestors(["c"], parents) == {"a", "b", "c"}


def test_grades_follow_from_sub_grades_and_rates_from_them() -> None:
    sub = np.random.default_rng(0).integers(0, 35, ROWS)
    names = [f"{'ABCDEFG'[k // 5]}{k % 5 + 1}" for k in sub]
    rate = planted(np.round(5.3 + 0.6 * sub + 0.03 * sub**1.5, 2), 4, 0.37)
    given = sample(rate=np.round(rate, 2), sub=names, grade=[n[0] for n in names])
    found = discovered(given)
    assert found["rate"] == ["function of sub"]
    assert found["grade"] == ["first 1 character of sub"]
