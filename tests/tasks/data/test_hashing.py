import numpy as np
import pyarrow as pa

from tasks.config.data import SplitConfig
from tasks.data.hashing import mix, row_hashes
from tasks.data.splits import split_by_hash
from tests.support.sketching import cells_of

GOLDEN = 1956941686263718088
SPLIT = SplitConfig(valid=0.2, calibration=0.05, test=0.1)


def test_a_row_s_hash_is_of_its_content() -> None:
    words, numbers = pa.array(["x", "y", None]), pa.array([1, None, 3], pa.int16())

    def hashes(columns: dict[str, pa.Array], seed: int = 0) -> list[int]:
        cells = {name: cells_of(array) for name, array in columns.items()}
        return row_hashes(cells, seed).tolist()

    given = hashes({"a": words, "b": numbers})
    wider = {"b": numbers.cast(pa.int64()), "a": words.dictionary_encode()}
    assert hashes(wider) == given
    assert len(set(given)) == 3
    assert hashes({"b": words, "a": numbers}) != given
    assert hashes({"a": words, "b": numbers}, seed=1) != given
    # Splits of data that is there must not move with a new version of anything.
    assert hashes({"a": pa.array(["x"]), "b": pa.array([1])}) == [GOLDEN]
    hashed = mix(np.arange(20_000, dtype=np.uint64))
    shares = np.bincount(split_by_hash(hashed, SPLIT))
    np.testing.assert_allclose(shares / 20_000, [0.65, 0.2, 0.05, 0.1], atol=0.015)
