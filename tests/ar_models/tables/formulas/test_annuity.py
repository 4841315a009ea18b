import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.annuity import AnnuityFormula, terms


def test_the_instalments_pay_back_the_amount_with_interest() -> None:
    formula = AnnuityFormula("amount", "rate", 1200.0, "term")
    cells = {
        "amount": pa.array([10_000.0, 3_600.0]),
        "rate": pa.array([7.5, 0.0]),
        "term": pa.array(["36 months", "36 months"]),
    }
    first, second = formula.evaluate(cells, pa.float64()).to_pylist()
    debt = 10_000.0
    for _ in range(36):
        debt += debt * 7.5 / 1200 - first
    assert abs(debt) < 1e-6
    assert second == 100.0


def test_terms_are_numbers_or_the_first_number_of_a_text() -> None:
    words = pa.array([" 36 months", "ten", None, "x-7-8"])
    np.testing.assert_equal(terms(words), [36, np.nan, np.nan, 7])
    np.testing.assert_equal(terms(words.dictionary_encode()), [36, np.nan, np.nan, 7])
    np.testing.assert_equal(terms(pa.array([5, None])), [5, np.nan])
