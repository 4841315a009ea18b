import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.columns import Column
from ar_models.encoder import TableEncoder
from tasks import manifest, prepare, profile, splits, storage
from tasks.config import DataConfig, Resources, SplitConfig
from tasks.datasets import read
from tasks.prepare import ENCODED
from tasks.splits import SPLITS

pytestmark = pytest.mark.usefixtures("ray")


def example(rows: int, seed: int = 0) -> pa.Table:
    """Rows of a mixed table."""
    rng = np.random.default_rng(seed)
    amount = np.where(rng.random(rows) < 0.4, 0.0, rng.gamma(2, 50, rows).round(2))
    return pa.table(
        {
            "key": [f"{seed}-{i}" for i in range(rows)],
            "city": rng.choice(["Oslo", "Rome", "Kyiv"], rows).tolist(),
            "age": pa.array(rng.integers(18, 90, rows), mask=rng.random(rows) < 0.1),
            "amount": amount,
            "member": rng.random(rows) < 0.3,
            "day": pa.array(rng.integers(18000, 18300, rows), pa.int32()).cast(
                pa.date32()
            ),
            "unit": ["EUR"] * rows,
        }
    )


def write_files(folder: Path, table: pa.Table, files: int) -> Path:
    """The rows, in order, in so many files."""
    folder.mkdir(parents=True)
    size = math.ceil(table.num_rows / files)
    for place in range(files):
        pq.write_table(table.slice(place * size, size), folder / f"{place}.parquet")
    return folder


def run(source: Path | str, output: Path | str, **settings: Any) -> dict[str, Any]:
    data = DataConfig.model_validate({"path": str(source), **settings})
    return prepare.prepare(data, str(output), Resources())


def split_rows(prepared: Path | str, split: str) -> pa.Table:
    """The raw rows of a split, or an empty table."""
    files = storage.list_files(storage.join(str(prepared), split))
    return pa.concat_tables(
        [pq.read_table(storage.join(str(prepared), split, f)) for f in files]
    )


def encoded_rows(prepared: Path, split: str) -> np.ndarray:
    """The encoded rows of a split, (n, dim)."""
    parts = []
    for path in sorted((prepared / "encoded" / split).iterdir()):
        with pa.memory_map(str(path)) as source:
            column = pa.ipc.open_file(source).read_all().column("x").combine_chunks()
            values = column.flatten().to_numpy()
            parts.append(values.reshape(len(column), -1).copy())
    return np.concatenate(parts)


def content(prepared: Path) -> dict[str, bytes]:
    """All files of a prepared dataset but for the times in the manifest."""
    found = {
        str(p.relative_to(prepared)): p.read_bytes()
        for p in prepared.rglob("*")
        if p.is_file()
    }
    known = json.loads(found.pop(manifest.MANIFEST))
    for key in ("started", "finished"):
        known.pop(key)
    return {**found, "manifest": json.dumps(known).encode()}


def test_every_row_stands_once_in_its_split(tmp_path: Path) -> None:
    table = example(400)
    source = write_files(tmp_path / "raw", table, 4)
    result = run(source, tmp_path / "out")
    assert result["done"] is False
    assert result["quarantined"] == 0
    found = {s: split_rows(tmp_path / "out", s) for s in SPLITS}
    assert {s: t.num_rows for s, t in found.items()} == result["rows"]
    everything = pa.concat_tables(list(found.values()))
    assert everything.schema.equals(table.schema)
    assert everything.sort_by("key").equals(table.sort_by("key"))
    encoder = prepare.load_encoder(str(tmp_path / "out"))
    assert encoder.fingerprint == result["encoder"]
    for split in ENCODED:
        expected = encoder.encode(found[split]).x
        np.testing.assert_array_equal(encoded_rows(tmp_path / "out", split), expected)


def test_the_manifest_describes_every_file(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(300), 2)
    result = run(source, tmp_path / "out", id=["key"])
    known = storage.read_json(str(tmp_path / "out" / manifest.MANIFEST))
    assert known["rows_in"] == 300 == known["rows_out"]
    for entry in known["files"]:
        path = str(tmp_path / "out" / entry["path"])
        assert storage.checksum(path) == entry["sha256"]
    listed = {entry["path"] for entry in known["files"]}
    receipts = {"_parts/part-00000.json", "_parts/part-00001.json"}
    assert set(content(tmp_path / "out")) == listed | receipts | {"manifest"}
    assert result["key"] == known["job_key"]


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(300), 2)
    first = run(source, tmp_path / "{key}")
    assert first["path"] == str(tmp_path / first["key"])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / first["key"]).rglob("*")}
    second = run(source, tmp_path / "{key}")
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / first["key"]).rglob("*")}
    assert second["done"] is True
    assert before == after
    different = ("done", "seconds", "rows_per_s")
    assert {k: v for k, v in second.items() if k not in different} == {
        k: v for k, v in first.items() if k not in different
    }


@pytest.mark.parametrize("step", ["_second_pass", "_first_pass"])
def test_a_run_that_died_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    source = write_files(tmp_path / "raw", example(300), 3)
    run(source, tmp_path / "undisturbed")
    whole = getattr(prepare, step)

    def dies(*arguments: Any) -> None:
        whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, step, dies)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out")
    kept = tmp_path / "out" / "encoder.json"
    if step == "_second_pass":
        kept = tmp_path / "out" / "train" / "part-00000.parquet"
        (tmp_path / "out" / "_parts" / "part-00002.json").unlink()
        (tmp_path / "out" / "train" / "part-00002.parquet").write_text("half")
    stamp = kept.stat().st_mtime_ns
    assert run(source, tmp_path / "out")["done"] is False
    assert kept.stat().st_mtime_ns == stamp
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["train/part-00001.parquet", "profile.json"])
def test_a_lost_file_is_made_again_and_no_other(tmp_path: Path, name: str) -> None:
    source = write_files(tmp_path / "raw", example(300), 3)
    run(source, tmp_path / "out")
    before = content(tmp_path / "out")
    other = tmp_path / "out" / "train" / "part-00002.parquet"
    stamp = other.stat().st_mtime_ns
    (tmp_path / "out" / name).unlink()
    assert run(source, tmp_path / "out")["done"] is False
    assert content(tmp_path / "out") == before
    assert other.stat().st_mtime_ns == stamp


def test_another_job_s_folder_is_refused(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(300), 1)
    run(source, tmp_path / "out")
    data = DataConfig(path=str(source), exclude=("city",))
    with pytest.raises(FileExistsError, match="holds the output of another job"):
        prepare.prepare(data, str(tmp_path / "out"), Resources())
    result = prepare.prepare(data, str(tmp_path / "out"), Resources(), overwrite=True)
    assert "city" not in result["columns"]
    assert "city" not in split_rows(tmp_path / "out", "train").column_names


def test_the_encoder_depends_on_the_rows_and_not_on_their_files(tmp_path: Path) -> None:
    table = example(500)
    one = run(write_files(tmp_path / "one", table, 1), tmp_path / "a")
    order = np.random.default_rng(1).permutation(500)
    shuffled = table.take(pa.array(order))
    seven = run(write_files(tmp_path / "seven", shuffled, 7), tmp_path / "b")
    assert one["rows"] == seven["rows"]
    assert one["encoder"] == seven["encoder"]
    assert one["fingerprint"] != seven["fingerprint"]


def test_rows_keep_their_split_when_the_data_grows(tmp_path: Path) -> None:
    table = example(400)
    run(write_files(tmp_path / "some", table, 1), tmp_path / "a")
    more = pa.concat_tables([example(200, seed=1), table])
    run(write_files(tmp_path / "more", more, 2), tmp_path / "b")
    for split in SPLITS:
        before = set(split_rows(tmp_path / "a", split).column("key").to_pylist())
        after = set(split_rows(tmp_path / "b", split).column("key").to_pylist())
        assert before and before == {k for k in after if k.startswith("0-")}


def test_equal_rows_stand_in_one_split(tmp_path: Path) -> None:
    table = example(150).drop_columns(["key"])
    twice = pa.concat_tables([table, table])
    run(write_files(tmp_path / "raw", twice, 3), tmp_path / "out")
    rows = {
        s: Counter(map(str, split_rows(tmp_path / "out", s).to_pylist()))
        for s in SPLITS
    }
    for split, counts in rows.items():
        assert all(count % 2 == 0 for count in counts.values()), split
    assert sum(len(counts) for counts in rows.values()) == len(
        set().union(*rows.values())
    )


def test_the_seed_chooses_other_splits(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(300), 1)
    run(source, tmp_path / "a")
    run(source, tmp_path / "b", split={"seed": 1})
    one, other = (split_rows(tmp_path / f, "test").column("key") for f in "ab")
    assert one.to_pylist() != other.to_pylist()


def test_the_encoder_sees_training_rows_only(tmp_path: Path) -> None:
    run(write_files(tmp_path / "raw", example(400), 3), tmp_path / "out")
    encoder = prepare.load_encoder(str(tmp_path / "out"))
    train = split_rows(tmp_path / "out", "train")
    data = DataConfig(path="")
    for column in encoder.columns:
        type = train.schema.field(column.name).type
        base = profile.base_of(type, None)
        cells = profile.cells_of(train.column(column.name), type, base)
        part = profile.sketch(cells, type, base, 1 << 16)
        assert profile.infer(column.name, type, part, data) == column


def test_a_split_by_time_puts_the_newest_into_test(tmp_path: Path) -> None:
    table = example(400)
    source = write_files(tmp_path / "raw", table, 3)
    split = {"by": "time", "column": "day", "test": 0.2}
    result = run(source, tmp_path / "out", split=split)
    days = {
        s: split_rows(tmp_path / "out", s).column("day").to_pylist() for s in SPLITS
    }
    order = ["train", "valid", "calibration", "test"]
    for older, newer in zip(order, order[1:], strict=False):
        assert max(days[older]) < min(days[newer])
    assert 80 <= result["rows"]["test"] < 90
    assert 40 <= result["rows"]["calibration"] < 50


def test_rows_that_cannot_be_read_are_listed_with_their_reason(tmp_path: Path) -> None:
    table = example(300)
    days = table.column("day").to_pylist()
    days[7] = None
    words: list[bytes] = [c.encode() for c in table.column("city").to_pylist()]
    words[210] = b"\xff\xfe"
    broken = pa.array(words, pa.binary()).view(pa.string())
    table = table.set_column(5, "day", pa.array(days, pa.date32()))
    table = table.set_column(1, "city", broken)
    source = write_files(tmp_path / "raw", table, 2)
    split = {"by": "time", "column": "day"}
    result = run(source, tmp_path / "out", split=split)
    assert result["quarantined"] == 2
    assert sum(result["rows"].values()) == 298
    listed = split_rows(tmp_path / "out", "quarantine").to_pylist()
    assert listed == [
        {"file": "0.parquet", "row": 7, "reason": "column 'day': no time to split by"},
        {"file": "1.parquet", "row": 60, "reason": "column 'city': not valid UTF-8"},
    ]


def damage_page(path: Path) -> None:
    """Overwrites data behind the first bytes, so that the footer stays good."""
    spoilt = bytearray(path.read_bytes())
    spoilt[4:200] = b"\xff" * 196
    path.write_bytes(spoilt)


@pytest.mark.parametrize("by", ["hash", "time"])
def test_damage_in_the_data_stops_or_sets_the_file_aside(
    tmp_path: Path, by: str
) -> None:
    source = write_files(tmp_path / "raw", example(400).select(["day", "city"]), 4)
    damage_page(source / "2.parquet")
    split = {"by": by, "column": "day" if by == "time" else None}
    with pytest.raises(ValueError, match="2.parquet: is damaged.*quarantine"):
        run(source, tmp_path / "stopped", split=split)
    assert not (tmp_path / "stopped" / manifest.MANIFEST).exists()
    result = run(source, tmp_path / "out", split=split, on_bad_file="quarantine")
    (bad,) = result["bad_files"]
    assert (bad["name"], bad["rows"]) == ("2.parquet", 100)
    assert bad["reason"].startswith("is damaged")
    assert result["quarantined"] == 100
    assert sum(result["rows"].values()) == 300
    listed = storage.read_json(str(tmp_path / "out" / "quarantine" / "files.json"))
    assert listed == result["bad_files"]


def test_large_files_are_prepared_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = example(500)
    source = write_files(tmp_path / "raw", table, 1)
    whole = run(source, tmp_path / "whole")
    monkeypatch.setattr(prepare, "FRAGMENT_CELLS", 700)
    pieces = run(source, tmp_path / "pieces")
    assert len(storage.list_files(str(tmp_path / "pieces" / "train"))) == 5
    assert pieces["encoder"] == whole["encoder"]
    assert split_rows(tmp_path / "pieces", "test").equals(
        split_rows(tmp_path / "whole", "test")
    )


def test_a_bucket_to_a_bucket(tmp_path: Path, bucket: str) -> None:
    import pyarrow.fs as pafs

    source = write_files(tmp_path / "month=1", example(300), 2)
    filesystem, inner = storage.resolve(f"{bucket}/raw/month=1")
    pafs.copy_files(str(source), inner, destination_filesystem=filesystem)
    result = run(f"{bucket}/raw", f"{bucket}/out")
    assert run(f"{bucket}/raw", f"{bucket}/out")["done"]
    encoder = prepare.load_encoder(f"{bucket}/out")
    assert encoder.fingerprint == result["encoder"]
    assert result["columns"]["month"] == "left out"
    left = {c.name: (c.reason, c.value) for c in encoder.left_out}
    assert left["month"] == ("constant", "1")
    assert left["unit"] == ("constant", "EUR")


def test_two_hundred_rows_are_enough_and_ten_are_not(tmp_path: Path) -> None:
    run(write_files(tmp_path / "enough", example(200), 1), tmp_path / "a")
    few = write_files(tmp_path / "few", example(5), 1)
    message = "5 rows leave the split .* empty; .* about 50 rows are needed"
    with pytest.raises(ValueError, match=message):
        run(few, tmp_path / "b")
    with pytest.raises(ValueError, match="every split needs a share above 0"):
        run(tmp_path / "enough", tmp_path / "c", split={"valid": 0})


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"id": ["kee"]},
            "data.id: the dataset has no column 'kee'; did you mean 'key'",
        ),
        ({"columns": {"town": {"kind": "real"}}}, "data.columns: .* 'town'"),
        ({"split": {"by": "time", "column": "when"}}, "data.split.column: .* 'when'"),
        (
            {"columns": {"city": {"kind": "real"}}},
            "data.columns.city: kind real .*string",
        ),
        (
            {"columns": {"age": {"kind": "timestamp"}}},
            "data.columns.age: kind timestamp",
        ),
        ({"columns": {"age": {"kind": "binary"}}}, "data.columns.age: kind binary"),
        ({"columns": {"amount": {"kind": "integer"}}}, "amount: kind integer .*whole"),
        ({"exclude": list(example(1).column_names)}, "all columns are excluded or ids"),
        (
            {"exclude": ["city", "age", "amount", "member", "day"]},
            "no column is left to",
        ),
        (
            {"max_categories": 2, "columns": {"city": {"kind": "categorical"}}},
            "city: 3",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_says_why(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    source = write_files(tmp_path / "raw", example(300), 1)
    with pytest.raises(ValueError, match=message):
        run(source, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / manifest.MANIFEST).exists()


def test_nested_columns_must_be_excluded(tmp_path: Path) -> None:
    deep = example(300).append_column("deep", pa.array([[[1, 2], [1]]] * 300))
    source = write_files(tmp_path / "raw", deep, 1)
    with pytest.raises(ValueError, match="column 'deep' is list<.*list<.*data.exclude"):
        run(source, tmp_path / "out")
    assert "deep" not in run(source, tmp_path / "out", exclude=["deep"])["columns"]


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
    result = run(
        source,
        tmp_path / "out",
        columns={"word": {"kind": "sequence"}},
        images={
            "image": {"height": 2, "width": 3},
            "p*": {"height": 1, "width": 2, "pixels": "mixture"},
        },
    )

    assert result["columns"] == {
        "image": "image",
        "word": "sequence",
        "p0": "integer",
        "p1": "integer",
    }
    encoder = prepare.load_encoder(str(tmp_path / "out"))
    assert encoder.dim == 6 + (1 + 7) + 2
    rows = split_rows(tmp_path / "out", "train")
    x = encoded_rows(tmp_path / "out", "train")
    np.testing.assert_array_equal(x, encoder.encode(rows).x)
    assert encoder.decode(x).equals(rows.select(encoder.names))


def test_ids_are_carried_and_not_modelled(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(300), 1)
    result = run(source, tmp_path / "out", id=["age"], exclude=["day"])
    assert "age" not in result["columns"] and "day" not in result["columns"]
    names = split_rows(tmp_path / "out", "train").column_names
    assert "age" in names and "day" not in names


def test_the_profile_says_what_each_column_is_and_why(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(400), 2)
    run(source, tmp_path / "out", columns={"member": {"kind": "leave_out"}})
    known = storage.read_json(str(tmp_path / "out" / "profile.json"))
    columns = {entry["name"]: entry for entry in known["columns"]}
    assert columns["key"]["why"] == "a unique id: all values differ"
    assert columns["unit"]["why"] == "constant"
    assert columns["member"]["why"] == "left out by the configuration"
    assert columns["amount"]["kind"] == "real"
    assert columns["age"]["missing"] > 0
    assert {word for word, _ in columns["city"]["top"]} == {"Oslo", "Rome", "Kyiv"}
    assert columns["day"]["quantiles"]["0"].startswith("2019-")
    encoder = prepare.load_encoder(str(tmp_path / "out"))
    assert encoder.decode(np.zeros((1, encoder.dim), np.float32)).column_names == [
        "city",
        "age",
        "amount",
        "day",
        "unit",
    ]


def kind_of(values: pa.Array, name: str = "a", **settings: Any) -> str:
    """The kind inferred from values, or why they are left out."""
    data = DataConfig.model_validate({"path": "", **settings})
    base = profile.base_of(values.type, None)
    cells = profile.cells_of(pa.chunked_array([values]), values.type, base)
    part = profile.sketch(cells, values.type, base, 1 << 16)
    found = profile.infer(name, values.type, part, data)
    return found.kind if isinstance(found, Column) else found.reason


NOISE = np.random.default_rng(0).normal(size=300)
WIDE = np.random.default_rng(0).permutation(10**6)[:300]


@pytest.mark.parametrize(
    "values, name, expected",
    [
        (pa.array(NOISE), "a", "real"),
        (pa.array(np.rint(NOISE * 9)), "a", "integer"),
        (pa.array(np.rint(NOISE * 9).astype(np.int16)), "a", "integer"),
        (pa.array(NOISE > 0), "a", "binary"),
        (pa.array([True, False, None] * 9), "a", "categorical"),
        (pa.array([0, 1] * 9), "a", "binary"),
        (pa.array([0.5, 1.5] * 9), "a", "binary"),
        (pa.array([0.25, 0.5, 0.75] * 40), "a", "categorical"),
        (pa.array(["x", "y"] * 9), "a", "binary"),
        (pa.array(["x", "y", "z"] * 9), "a", "categorical"),
        (
            pa.array([f"n{i}" for i in range(300)]),
            "a",
            "a unique id: all values differ",
        ),
        (pa.array(range(300)), "a", "a unique id: all values differ"),
        (pa.array(WIDE), "amount", "integer"),
        (pa.array(WIDE), "order_id", "a unique id: all values differ"),
        (pa.array(WIDE), "customerID", "a unique id: all values differ"),
        (pa.array(WIDE), "humid", "integer"),
        (pa.array([1, 2, 3], pa.timestamp("s")), "a", "timestamp"),
        (pa.array([1, 2, 3], pa.date32()), "a", "integer"),
        (pa.array([1, 2, 3], pa.duration("s")), "a", "integer"),
        (pa.array([f"n{i}" for i in range(30)] * 2), "a", "categorical"),
        (
            pa.array([f"n{i}" for i in range(10)]),
            "a",
            "no value occurs 2 times, as data.min_category_count asks",
        ),
    ],
)
def test_kinds_are_inferred_from_the_values(
    values: pa.Array, name: str, expected: str
) -> None:
    assert kind_of(values, name) == expected


def test_a_kind_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(400), 1)
    columns = {
        "age": {"kind": "categorical"},
        "unit": {"kind": "categorical"},
        "amount": {"kind": "leave_out"},
        "day": {"kind": "categorical"},
    }
    result = run(source, tmp_path / "out", columns=columns)
    assert result["columns"]["age"] == "categorical"
    assert result["columns"]["unit"] == "categorical"
    assert result["columns"]["amount"] == "left out"
    train = split_rows(tmp_path / "out", "train")
    encoder = prepare.load_encoder(str(tmp_path / "out"))
    decoded = encoder.decode(encoder.encode(train).x)
    assert decoded.column("unit").equals(train.column("unit"))


def test_a_row_s_hash_is_of_its_content() -> None:
    words, numbers = pa.array(["x", "y", None]), pa.array([1, None, 3], pa.int16())

    def hashes(columns: dict[str, pa.Array], seed: int = 0) -> list[int]:
        seen = {}
        for name, array in columns.items():
            base = profile.base_of(array.type, None)
            seen[name] = profile.cells_of(pa.chunked_array([array]), array.type, base)
        return splits.row_hashes(seen, seed).tolist()

    given = hashes({"a": words, "b": numbers})
    wider = {"b": numbers.cast(pa.int64()), "a": words.dictionary_encode()}
    assert hashes(wider) == given
    assert len(set(given)) == 3
    assert hashes({"b": words, "a": numbers}) != given
    assert hashes({"a": words, "b": numbers}, seed=1) != given
    # Splits of data that is there must not move with a new version of anything.
    assert hashes({"a": pa.array(["x"]), "b": pa.array([1])}) == [GOLDEN]
    shares = np.bincount(
        splits.by_hash(
            profile.mix(np.arange(20_000, dtype=np.uint64)),
            SplitConfig(valid=0.2, calibration=0.05, test=0.1),
        )
    )
    np.testing.assert_allclose(shares / 20_000, [0.65, 0.2, 0.05, 0.1], atol=0.015)


GOLDEN = 1956941686263718088


def test_equal_rows_are_told_apart_by_an_id_alone(tmp_path: Path) -> None:
    cities = ["Oslo", "Rome", "Kyiv", "Lima"] * 300
    table = pa.table({"key": range(1200), "city": cities, "twin": cities})
    source = write_files(tmp_path / "raw", table, 2)

    def splits_of_oslo(output: str, **settings: Any) -> dict[str, int]:
        run(source, tmp_path / output, **settings)
        found = {}
        for split in splits.SPLITS:
            rows = split_rows(tmp_path / output, split)
            found[split] = rows.column("city").to_pylist().count("Oslo")
        return found

    wide = {"valid": 0.2, "calibration": 0.2, "test": 0.2}
    apart = splits_of_oslo("apart", id=["key"], split=wide)
    assert apart["train"] == pytest.approx(120, abs=30)
    for split in ("valid", "calibration", "test"):
        assert apart[split] == pytest.approx(60, abs=25)
    together = splits_of_oslo("together", exclude=["key"], split={**wide, "seed": 3})
    assert sorted(together.values()) == [0, 0, 0, 300]


def test_approximate_sketches_do_not_depend_on_chance() -> None:
    values = np.random.default_rng(2).normal(size=20_000)

    def encoder() -> TableEncoder:
        cells = profile.cells_of(pa.chunked_array([values]), pa.float64(), "reals")
        part = profile.sketch(cells, pa.float64(), "reals", 100)
        column = profile.infer("a", pa.float64(), part, DataConfig(path=""))
        assert isinstance(column, Column)
        return TableEncoder((column,), (), pa.schema([("a", pa.float64())]))

    assert encoder().fingerprint == encoder().fingerprint


def test_the_raw_columns_of_a_split_can_be_read_as_the_dataset(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example(300), 2)
    run(source, tmp_path / "out")
    again = prepare.open_checked(DataConfig(path=str(tmp_path / "out" / "train")))
    raw = prepare.open_checked(DataConfig(path=str(source)))
    assert again.schema.equals(raw.schema)
    assert read(again.fragments[0]).schema.equals(raw.schema)
