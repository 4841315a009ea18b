import re
import uuid

import numpy as np
import pytest

from ar_models.tables.text_pattern import describe, fill, learn_pattern, widened

RNG = np.random.default_rng(0)
KEYS = {
    "AB-[0-9]{5}": [f"AB-{i:05}" for i in RNG.permutation(100_000)[:500]],
    "order [0-9]{1,3}": [f"order {i}" for i in range(1000)],
    r"[a-z]{1,4}\.[a-z]{2,5}@x\.org": [
        f"{'abcd'[: i % 4 + 1]}.{'klmno'[: i % 3 + 2 + i % 2]}@x.org" for i in range(40)
    ],
    "[A-Z][a-z]{1,4} [A-Z][a-z]{2,4}": ["Jo Smith", "Anna Lee", "Peter Bauer"] * 10,
    "K[A-Z][0-3]": [f"K{'QXW'[i % 3]}{i % 4}" for i in range(300)],
}


@pytest.mark.parametrize("form", KEYS)
def test_keys_have_a_pattern_that_all_of_them_match(form: str) -> None:
    pattern = learn_pattern(KEYS[form])
    assert pattern is not None
    assert all(re.fullmatch(describe(pattern), text) for text in KEYS[form])
    assert describe(pattern) == form


def test_new_texts_differ_and_match_the_pattern() -> None:
    for texts in (
        KEYS["AB-[0-9]{5}"],
        [str(uuid.UUID(int=7**k % 2**128)) for k in range(400)],
    ):
        pattern = learn_pattern(texts)
        assert pattern is not None
        numbers = np.arange(20_000)
        new = fill(pattern, numbers, 20_000, seed=1)
        assert len(set(new)) == 20_000
        assert all(re.fullmatch(describe(pattern), text) for text in new)
        # The texts of some numbers do not depend on the others.
        assert fill(pattern, numbers[777:780], 20_000, 1).tolist() == (
            new[777:780].tolist()
        )
        assert fill(pattern, numbers, 20_000, seed=2).tolist() != new.tolist()


def test_random_uuids_keep_their_version() -> None:
    rng = np.random.default_rng(4)
    texts = [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(500)]
    pattern = learn_pattern(texts)
    assert pattern is not None
    new = fill(pattern, np.arange(1000), 1000, seed=0)
    assert all(uuid.UUID(text).version == 4 for text in new)
    assert len(set(new)) == 1000


@pytest.mark.parametrize("count", [10, 99, 100, 5000])
def test_a_pattern_grows_digits_where_it_has_too_few_texts(count: int) -> None:
    letters = [f"x{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    for texts in ([f"A{i:02}" for i in range(30)], letters):
        pattern = learn_pattern(texts)
        assert pattern is not None
        wide = widened(pattern, count)
        assert len(set(fill(wide, np.arange(count), count, 3))) == count
        assert wide == pattern or count > 26


@pytest.mark.parametrize(
    "texts",
    [
        [f"AB-{i}" for i in range(19)],
        [f"call {'again ' * (i % 4)}{i}" for i in range(100)],
        ["", *(f"k{i}" for i in range(50))],
        [f"{i} " + "x" * 70 for i in range(50)],
        [f"{'ä' * (1 + i % 3)}{i}" for i in range(50)],
    ],
)
def test_irregular_texts_and_few_texts_have_no_pattern(texts: list[str]) -> None:
    assert learn_pattern(texts) is None
