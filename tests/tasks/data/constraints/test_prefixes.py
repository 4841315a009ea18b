import numpy as np

from tasks.data.constraints.prefixes import prefixes
from tests.support.planted import ROWS, sample, texts

RNG = np.random.default_rng(0)


def test_text_and_numbers_that_begin_a_text_are_found() -> None:
    code = [
        f"{a}{b:03d}"
        for a, b in zip(
            RNG.integers(10, 99, ROWS), RNG.integers(0, 999, ROWS), strict=True
        )
    ]
    family = [word[:2] for word in code]
    given = sample(
        code=code,
        family=[int(word) for word in family],
        first=[word[0] for word in family],
        last=[word[-1] for word in code],
    )
    assert texts(prefixes(given)) == {
        "family = first 2 characters of code",
        "first = first 1 character of code",
    }
