from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.data import training_data
from tasks.data.prepared import read_encoder
from tasks.runtime import storage
from tests.support.preparing import (
    example_table,
    read_encoded,
    read_split,
    run_prepare,
    write_files,
)


def test_large_files_are_prepared_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = example_table(500)
    source = write_files(tmp_path / "raw", table, 1)
    whole = run_prepare(source, tmp_path / "whole")
    monkeypatch.setattr(training_data, "FRAGMENT_CELLS", 700)
    pieces = run_prepare(source, tmp_path / "pieces")
    assert len(storage.list_files(str(tmp_path / "pieces" / "train"))) == 5
    assert pieces.encoder == whole.encoder
    found, expected = (read_split(tmp_path / n, "test") for n in ("pieces", "whole"))
    assert found.equals(expected)


def test_lists_texts_and_images_are_encoded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (300, 6)).astype(np.uint8)
    table = pa.table(
        {
            "image": pa.array(pixels.tolist(), pa.list_(pa.uint8())),
            "word": [("abc" * 3)[: 1 + i % 7] for i in range(300)],
            "p0": pixels[:, 0],
            "p1": pixels[:, 1],
        }
    )
    source = write_files(tmp_path / "raw", table, 2)
    result = run_prepare(
        source,
        tmp_path / "out",
        columns={"word": {"kind": "sequence"}},
        images={
            "image": {"height": 2, "width": 3},
            "p*": {"height": 1, "width": 2, "pixels": "mixture"},
        },
    )

    kinds = ["image", "sequence", "integer", "integer"]
    assert result.columns == dict(zip(table.column_names, kinds, strict=True))
    encoder = read_encoder(str(tmp_path / "out"))
    assert encoder.dim == 6 + (1 + 7) + 2
    rows = read_split(tmp_path / "out", "train")
    x = read_encoded(tmp_path / "out", "train")
    np.testing.assert_array_equal(x, encoder.encode(rows).x)
    assert encoder.decode(x).equals(rows.select(encoder.names))
