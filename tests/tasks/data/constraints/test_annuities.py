import numpy as np

from tasks.data.constraints.annuities import annuities
from tests.support.planted import ROWS, planted, sample, texts

RNG = np.random.default_rng(0)
AMOUNT = RNG.integers(40, 1400, ROWS) * 25
RATE = np.round(RNG.uniform(5, 25, ROWS), 2)


def instalments(months: np.ndarray) -> np.ndarray:
    """Return the monthly instalments, rounded to cents."""
    interest = RATE / 1200
    return np.round(AMOUNT * interest / (1 - (1 + interest) ** -months), 2)


def test_instalments_are_found_with_terms_in_words_or_years() -> None:
    months = RNG.choice([36, 60], ROWS)
    given = sample(
        amount=AMOUNT,
        rate=RATE,
        term=[f" {m} months" for m in months],
        instalment=np.round(planted(instalments(months), 10), 2),
        other=RNG.integers(1, 60, ROWS),
    )
    (found,) = annuities(given)
    text = "instalment = annuity of amount at rate / 1200 over term payments"
    assert texts([found]) == {text}
    assert int(found.matched.sum()) == ROWS - 10
    assert list(annuities(given, known=["instalment"])) == []
    years = sample(
        amount=AMOUNT, rate=RATE, term=months // 12, instalment=instalments(months)
    )
    text = "instalment = annuity of amount at rate / 1200 over 12 * term payments"
    assert texts(annuities(years)) == {text}
