import numpy as np
import pyarrow as pa

from tasks.config.data import SplitConfig
from tasks.data.cells import representation_of, to_cells
from tasks.data.hashing import mix, row_hashes
from tasks.data.splits import split_by_hash


def test_a_row_s_hash_is_of_its_content() -> None:
    words, numbers = pa.array(["x", "y", None]), pa.array([1, None, 3], pa.int16())

    def hashes(columns: dict[str, pa.Array], seed: int = 0) -> list[int]:
        seen = {}
        for name, array in columns.items():
            base = representation_of(array.type, None)
            seen[name] = to_cells(pa.chunked_array([array]), array.type, base)
        return row_hashes(seen, seed).tolist()

    given = hashes({"a": words, "b": numbers})
    wider = {"b": numbers.cast(pa.int64()), "a": words.dictionary_encode()}
    assert hashes(wider) == given
    assert len(set(given)) == 3
    assert hashes({"b": words, "a": numbers}) != given
    assert hashes({"a": words, "b": numbers}, seed=1) != given
    # Splits of data that is there must not move with a new version of anything.
    assert hashes({"a": pa.array(["x"]), "b": pa.array([1])}) == [GOLDEN]
    shares = np.bincount(
        split_by_hash(
            mix(np.arange(20_000, dtype=np.uint64)),
            SplitConfig(valid=0.2, calibration=0.05, test=0.1),
        )
    )
    np.testing.assert_allclose(shares / 20_000, [0.65, 0.2, 0.05, 0.1], atol=0.015)


GOLDEN = 1956941686263718088
