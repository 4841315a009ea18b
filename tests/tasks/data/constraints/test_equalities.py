import numpy as np
import pyarrow as pa

from tasks.data.constraints.equalities import equalities
from tests.support.planted import ROWS, planted, sample, texts

RNG = np.random.default_rng(0)


def test_equal_columns_are_found_across_types_and_with_their_nulls() -> None:
    amount = RNG.integers(0, 5000, ROWS)
    word = RNG.choice(["x", "y", "z"], ROWS)
    gaps = RNG.random(ROWS) < 0.2
    given = sample(
        amount=amount,
        again=planted(amount.astype(float), 4),
        word=pa.array(word, mask=gaps),
        twin=pa.array(word, mask=gaps).dictionary_encode(),
        other=RNG.integers(0, 5000, ROWS),
    )
    found = list(equalities(given))
    assert texts(found) == {
        "amount = again",
        "again = amount",
        "word = twin",
        "twin = word",
    }
    matches = {c.column: int(c.matched.sum()) for c in found}
    assert matches == {
        "amount": ROWS - 4,
        "again": ROWS - 4,
        "word": ROWS,
        "twin": ROWS,
    }


def test_a_copy_in_some_rows_is_found_and_agreement_in_zeros_is_not() -> None:
    bill = RNG.integers(1, 50_000, ROWS)
    paid = np.where(RNG.random(ROWS) < 0.13, bill, RNG.integers(1, 50_000, ROWS))
    zeros = [np.where(RNG.random(ROWS) < 0.7, 0, bill + k) for k in (1, 2)]
    given = sample(bill=bill, paid=paid, a=zeros[0], b=zeros[1])
    assert texts(equalities(given)) == {"bill = paid", "paid = bill"}
