import numpy as np

from ar_models.tables.formulas.equality import Equality
from tasks.data.constraints.candidate import (
    evaluate,
    gain_of,
    is_exact,
    is_partial,
    is_worth_having,
)
from tests.support.planted import ROWS, planted, sample

RNG = np.random.default_rng(0)


def test_agreement_by_chance_saves_nothing_and_a_copy_its_code_length() -> None:
    few = RNG.random((2, ROWS)) < 0.1
    given = sample(a=few[0].astype(int), b=few[1].astype(int))
    assert gain_of(few[0] == few[1], given.columns["a"]) < 1e-3
    whole = sample(a=RNG.integers(0, 64, ROWS)).columns["a"]
    np.testing.assert_allclose(
        gain_of(np.ones(ROWS, bool), whole), whole.entropy, atol=0.01
    )


def test_a_constraint_holds_in_the_rows_that_tell_something() -> None:
    a = RNG.integers(0, 1000, ROWS)
    sparse = np.where(RNG.random((2, ROWS)) < 0.97, 0, a)
    given = sample(a=a, copy=planted(a, 20), one=sparse[0], two=sparse[1])
    good = evaluate(given, "copy", Equality("a"))
    assert (good.rate, int(good.matched.sum())) == (0.99, ROWS - 20)
    assert is_exact(good, given.columns["copy"])
    assert is_worth_having(good, given.columns["copy"])
    zeros = evaluate(given, "two", Equality("one"))
    assert zeros.rate > 0.9
    assert not is_exact(zeros, given.columns["two"])


def test_partial_copies_need_values_that_are_not_frequent() -> None:
    a = RNG.integers(0, 5000, ROWS)
    some = np.where(RNG.random(ROWS) < 0.2, a, RNG.integers(0, 5000, ROWS))
    given = sample(a=a, some=some)
    copy = evaluate(given, "some", Equality("a"))
    assert is_partial(copy, given.columns["some"])
    assert not is_exact(copy, given.columns["some"])
