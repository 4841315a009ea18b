from pathlib import Path

import numpy as np
import pyarrow as pa

from ar_models.tables.text_pattern import describe
from tasks.data.keys import SIZE, sketch_cells
from tasks.data.prepared import read_encoder
from tests.support.preparing import example_table, run_prepare, write_files
from tests.support.sketching import cells_of


def test_merged_sketches_are_those_of_all_rows() -> None:
    texts = pa.chunked_array([[f"k{i % 3000}" for i in range(4000)] + [None]])
    halves = [texts.slice(0, 1500), texts.slice(1500)]
    whole = sketch_cells(cells_of(texts), pa.string())
    first, last = (sketch_cells(cells_of(half), pa.string()) for half in halves)
    both = first.merge(last)
    assert both.hashes.tolist() == whole.hashes.tolist()
    assert both.texts == whole.texts and len(both.texts) == SIZE
    assert (both.rows, both.missing, both.repeats) == (4001, 1, True)
    assert not first.repeats
    # The relative error has a standard deviation of 1 / 32.
    assert abs(both.distinct - 3000) < 600


def test_the_greatest_integer_is_known_and_fractions_have_none() -> None:
    numbers = pa.array([5, 9, None, 7])
    assert sketch_cells(cells_of(numbers), numbers.type).high == 9
    halves = pa.array([0.5, 9.0])
    assert sketch_cells(cells_of(halves), halves.type).high is None
    nothing = pa.array([None], pa.int64())
    sketch = sketch_cells(cells_of(nothing), nothing.type)
    assert (sketch.high, sketch.missing, sketch.distinct) == (None, 1, 0)


def test_prepare_stores_keys_of_ids_and_of_columns_that_are_left_out(
    tmp_path: Path,
) -> None:
    table = example_table(400)
    rng = np.random.default_rng(1)
    numbers = pa.array([f"AB-{i:05}" for i in rng.permutation(100_000)[:400]])
    table = table.add_column(1, "order", numbers)
    table = table.append_column("client", pa.array(rng.integers(0, 80, 400)))
    table = table.append_column("secret", pa.array(["x"] * 400))
    source = write_files(tmp_path / "raw", table, 3)

    run_prepare(source, tmp_path / "out", id=("order", "client"), exclude=("secret",))

    encoder = read_encoder(str(tmp_path / "out"))
    key, order, client = encoder.keys
    assert [k.name for k in encoder.keys] == ["key", "order", "client"]
    assert [k.place for k in encoder.keys] == [0, 1, 8]
    assert key.is_unique and order.is_unique and not client.is_unique
    assert key.pattern and describe(key.pattern) == "0-[0-9]{1,3}"
    assert order.pattern and describe(order.pattern) == "AB-[0-9]{5}"
    assert client.high == 79 and client.distinct == 77
    text = (tmp_path / "out" / "encoder.json").read_text()
    assert not any(value in text for value in numbers.to_pylist())
