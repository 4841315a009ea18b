"""Tests of grouping rows into sequences."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config.data import DataConfig
from tasks.data import group


def rows(count: int = 200) -> pa.Table:
    """Return the rows of several sequences in random order."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "who": pa.array([f"s{i}" for i in rng.integers(0, 17, count)]),
            "when": pa.array(rng.permutation(count)),
            "note": pa.array(rng.integers(0, 5, count)),
            "word": pa.array(rng.choice(["a", "b"], count)),
        }
    )


def config(**more: object) -> DataConfig:
    sequence = {"key": "who", "order_by": "when"}
    return DataConfig.model_validate({"path": "", "sequence": sequence, **more})


@pytest.mark.parametrize("buckets", [1, 7])
def test_sequences_hold_their_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    table = rows()
    monkeypatch.setattr(group, "BUCKET_ROWS", len(table) // buckets)
    monkeypatch.setattr(group, "FRAGMENT_ROWS", 40)
    pq.write_table(table, tmp_path / "rows.parquet")

    done = group.group(config(), str(tmp_path / "rows.parquet"), str(tmp_path / "out"))

    found = pq.read_table(done.path)
    assert found.column_names == ["who", "rows"]
    assert (done.rows_in, done.sequences) == (200, len(found))
    expected: dict[str, list[dict[str, object]]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: row["when"]):
        one = {"note": row["note"], "word": row["word"]}
        expected.setdefault(row["who"], []).append(one)
    assert {row["who"]: row["rows"] for row in found.to_pylist()} == expected
    files = list(Path(done.path).glob("part-*.parquet"))
    assert 1 <= len(files) <= buckets


def test_rows_stay_as_they_come_without_an_order(tmp_path: Path) -> None:
    table = pa.table({"who": [1, 0] * 50, "note": list(range(100))})
    pq.write_table(table, tmp_path / "rows.parquet")
    data = DataConfig.model_validate({"path": "", "sequence": {"key": "who"}})

    done = group.group(data, str(tmp_path / "rows.parquet"), str(tmp_path / "out"))

    first, second = pq.read_table(done.path)["rows"].to_pylist()
    assert [row["note"] for row in first] == list(range(1, 100, 2))
    assert [row["note"] for row in second] == list(range(0, 100, 2))


def test_what_is_gathered_is_not_gathered_again(tmp_path: Path) -> None:
    pq.write_table(rows(), tmp_path / "rows.parquet")
    arguments = config(), str(tmp_path / "rows.parquet"), str(tmp_path / "{key}")

    first, second = group.group(*arguments), group.group(*arguments)

    assert (first.done, second.done) == (False, True)
    assert first.path == second.path


def test_other_datasets_are_left_as_they_are() -> None:
    assert group.grouped_data(DataConfig(path="there"), "x").path == "there"


def test_the_fields_keep_their_kinds() -> None:
    data = config(columns={"note": {"kind": "categorical"}}, exclude=["word"])

    changed = group.grouped_data(data, "new")

    assert (changed.path, changed.id, changed.exclude) == ("new", ("who",), ())
    assert list(changed.columns) == ["rows.note"]
    assert changed.sequence is None


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ({"key": "whom"}, "data.sequence.key: .* did you mean 'who'"),
        ({"key": "who", "order_by": "then"}, "data.sequence.order_by: "),
    ],
)
def test_a_key_that_is_not_there_is_named(
    tmp_path: Path, sequence: dict[str, str], said: str
) -> None:
    pq.write_table(rows(), tmp_path / "rows.parquet")
    data = DataConfig.model_validate({"path": "", "sequence": sequence})

    with pytest.raises(ValueError, match=said):
        group.group(data, str(tmp_path / "rows.parquet"), str(tmp_path / "out"))


def test_a_row_without_a_key_is_refused(tmp_path: Path) -> None:
    table = pa.table({"who": ["a", None], "when": [0, 1], "note": [1, 2]})
    pq.write_table(table, tmp_path / "rows.parquet")

    with pytest.raises(ValueError, match="rows.parquet: column 'who' contains nulls"):
        group.group(config(), str(tmp_path / "rows.parquet"), str(tmp_path / "out"))
