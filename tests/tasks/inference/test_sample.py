"""Sampling jobs: exact counts, shards that are the same bytes wherever drawn."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ar_models.families.base import AutoregressiveModel
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.inference import sample
from tasks.runtime import manifest, storage
from tests.support.scoring import read_entries
from tests.support.tables import small_table

CONFIG = SampleConfig(rows=250, rows_per_shard=100, seed=5, log_prob=True)

Job = Callable[..., sample.SampleResult]


@pytest.fixture
def job(small_model: str, tmp_path: Path) -> Job:
    """Return `sample` with default arguments."""

    def run(name: str = "output", **settings: Any) -> sample.SampleResult:
        output = name if "/" in name else str(tmp_path / name)
        config = CONFIG.model_copy(update=settings)
        return sample.sample(small_model, output, config, Resources())

    return run


@pytest.fixture(scope="module")
def undisturbed(
    small_model: str, tmp_path_factory: pytest.TempPathFactory, ray: None
) -> Path:
    """Return the output of an undisturbed job; tests must not change it."""
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    sample.sample(small_model, str(output), CONFIG, Resources())
    return output


def test_the_rows_are_as_many_and_as_asked_for(undisturbed: Path) -> None:
    parts = [pq.read_table(p) for p in sorted(undisturbed.glob("part-*.parquet"))]
    assert [part.num_rows for part in parts] == [100, 100, 50]
    rows = pa.concat_tables(parts)
    original = small_table().schema
    assert rows.schema.names == [*original.names, "log_prob"]
    assert rows.schema.types[:-1] == original.types
    assert set(rows["kind"].to_pylist()) == {"a", "b", "c"}
    assert rows["log_prob"].null_count == 0
    assert not parts[0].equals(parts[1])


def test_ids_are_made_anew_with_their_pattern(undisturbed: Path) -> None:
    ids = pq.read_table(undisturbed)["id"].to_pylist()
    assert len(set(ids)) == 250
    assert all(re.fullmatch(r"row-0-[0-9]{1,4}", text) for text in ids)
    content = storage.read_json(str(undisturbed / manifest.MANIFEST))
    assert content["new_keys"] == {"id": "row-0-[0-9]{1,4}"}
    assert content["rare_cells"] == {} and content["fewest_rows"] > 100


@pytest.mark.parametrize("style", ["sequence", "null"])
def test_the_configured_form_of_keys_is_used(
    job: Job, in_process: None, style: Any
) -> None:
    result = job(style, new_keys=style)
    numbers = [str(i) for i in range(1, 251)]
    found = pq.read_table(result.path)["id"].to_pylist()
    assert found == (numbers if style == "sequence" else [None] * 250)


def test_a_shard_is_the_same_bytes_wherever_it_is_drawn(
    small_model: str, undisturbed: Path, tmp_path: Path
) -> None:
    whole = storage.read_json(str(undisturbed / manifest.MANIFEST))
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in an actor
    sampler = sample.ShardSampler(small_model, str(tmp_path), CONFIG, whole["job_key"])
    shards = sample.divide(250, 100)
    found = [sampler(shards[i])["files"] for i in (1, 0)]
    torch.set_num_threads(before)
    assert found == [[whole["files"][1]], [whole["files"][0]]]


def test_another_seed_gives_other_rows(
    job: Job, in_process: None, undisturbed: Path
) -> None:
    result = job(seed=6, rows=100)
    name = "part-00000.parquet"
    other = pq.read_table(Path(result.path) / name)
    assert not other.equals(pq.read_table(undisturbed / name))


def test_a_lost_part_alone_is_drawn_again(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(undisturbed, output)
    kept = (output / "part-00001.parquet").stat().st_mtime_ns
    (output / "part-00000.parquet").unlink()
    result = job()
    assert not result.done and result.rows_out == 250
    assert read_entries(output) == read_entries(undisturbed)
    assert (output / "part-00001.parquet").stat().st_mtime_ns == kept
    assert job().done


def test_s3_gives_the_same_bytes(job: Job, undisturbed: Path, bucket: str) -> None:
    result = job(f"{bucket}/sampled")
    assert result.rows_out == 250
    assert read_entries(f"{bucket}/sampled") == read_entries(undisturbed)


def test_another_jobs_output_is_refused(job: Job, undisturbed: Path) -> None:
    before = sorted(os.listdir(undisturbed))
    with pytest.raises(FileExistsError, match="another job"):
        job(str(undisturbed), rows=251)
    assert sorted(os.listdir(undisturbed)) == before


def test_the_footer_tells_where_rows_come_from(undisturbed: Path) -> None:
    metadata = pq.read_schema(undisturbed / "part-00002.parquet").metadata
    facts = json.loads(metadata[b"chainrule"])
    assert (facts["seed"], facts["shard"], facts["rows_out"]) == (5, 2, 50)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(1, [1]), (99, [99]), (100, [100]), (101, [100, 1]), (300, [100, 100, 100])],
)
def test_shards_add_up(rows: int, sizes: list[int]) -> None:
    shards = sample.divide(rows, 100)
    assert [shard.rows for shard in shards] == sizes
    assert [shard.index for shard in shards] == list(range(len(sizes)))


def test_the_bytes_do_not_depend_on_where_the_model_came_from(
    small_model: str, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    info = {"name": "other", "version": "7"}
    output = str(tmp_path / "output")
    sample.sample(small_model, output, CONFIG, Resources(), model_info=info)
    assert read_entries(output) == read_entries(undisturbed)
    content = storage.read_json(storage.join(output, manifest.MANIFEST))
    assert content["model"]["version"] == "7"


def test_temperature_and_top_p_enter_the_rows_and_the_key(
    job: Job, in_process: None, undisturbed: Path
) -> None:
    key = storage.read_json(str(undisturbed / manifest.MANIFEST))["job_key"]
    cold, narrow = job("cold", temperature=0.3), job("narrow", top_p=0.5)
    usual = log_probs(undisturbed)
    for result in (cold, narrow):
        assert result.key != key
        assert not np.array_equal(log_probs(result.path), usual)
    assert log_probs(cold.path).mean() > usual.mean() + 0.1


def test_bf16_enters_the_draws_and_the_key_and_changes_little(
    job: Job,
    in_process: None,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = AutoregressiveModel.draw_unconditional
    types = []

    def watched(model: AutoregressiveModel, *arguments: Any) -> Any:
        on = torch.is_autocast_enabled("cpu")
        types.append(torch.get_autocast_dtype("cpu") if on else torch.float32)
        return draw(model, *arguments)

    monkeypatch.setattr(AutoregressiveModel, "draw_unconditional", watched)
    rough = job(precision="bf16")

    plain = storage.read_json(str(undisturbed / manifest.MANIFEST))
    assert rough.key != plain["job_key"]
    usual, found = log_probs(undisturbed), log_probs(rough.path)
    assert set(types) == {torch.bfloat16}
    assert found.mean() == pytest.approx(usual.mean(), abs=0.1)


def log_probs(folder: str | Path) -> Any:
    """Read the log-probabilities of all sampled rows."""
    return pq.read_table(folder)["log_prob"].to_numpy()


# --- completions ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two files of first columns, some cells empty, and a key."""
    folder = tmp_path_factory.mktemp("known")
    for k in range(2):
        table = small_table(60, seed=k).select(["kind", "id"])
        counts = pa.array([None if i % 3 else 4 for i in range(60)], pa.int64())
        pq.write_table(table.append_column("count", counts), folder / f"{k}.parquet")
    return str(folder)


def test_each_given_row_is_completed_so_many_times(
    job: Job, in_process: None, known: str
) -> None:
    given = pq.read_table(known)

    result = job(given=known, samples_per_row=3)

    rows = pq.read_table(result.path)
    assert result.rows_out == len(rows) == 360
    assert rows.column_names == ["kind", "count", "paid", "late", "id", "log_prob"]
    every = pa.array([i // 3 for i in range(360)])
    assert rows["id"].equals(given["id"].take(every))
    assert rows["kind"].equals(given["kind"].take(every))
    counts = given["count"].take(every)
    assert rows["count"].filter(counts.is_valid()).equals(counts.drop_null())
    assert set(rows["paid"].to_pylist()[:3]) != {rows["paid"][0].as_py()}
    assert max(part.num_rows for part in read_parts(result.path)) <= 100
    assert job(given=known, samples_per_row=3).done


def read_parts(folder: str) -> list[pa.Table]:
    """Read the parts of a job."""
    return [pq.read_table(path) for path in sorted(Path(folder).glob("part-*"))]


def test_a_lost_completion_alone_is_drawn_again(
    job: Job, in_process: None, known: str, tmp_path: Path
) -> None:
    settings = {"given": known, "samples_per_row": 2}
    before = read_entries(job(**settings).path)
    kept = (tmp_path / "output" / "part-00001.parquet").stat().st_mtime_ns
    (tmp_path / "output" / "part-00000.parquet").unlink()

    assert not job(**settings).done

    assert read_entries(tmp_path / "output") == before
    assert (tmp_path / "output" / "part-00001.parquet").stat().st_mtime_ns == kept


def test_nulls_are_missing_in_the_columns_that_say_so(
    job: Job, in_process: None, known: str
) -> None:
    rows = pq.read_table(job(given=known, null_is_missing=("count",)).path)
    assert rows["count"].equals(pq.read_table(known)["count"])


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            {"id": ["x"]},
            {},
            r"none of the modelled columns \(kind, count, paid, late\)",
        ),
        ({"kind": ["z"]}, {}, "rows from 0 on: column 'kind', row 0: 'z' is given"),
        ({"kind": [3]}, {}, "column 'kind' is int64, which cannot be read as string"),
        ({"kind": ["a"], "log_prob": [1]}, {}, "'log_prob' has the name of a column"),
        (
            {"kind": ["a"]},
            {"null_is_missing": ("king",)},
            "no column 'king'; did you mean",
        ),
    ],
)
def test_what_cannot_be_completed_is_named(
    job: Job,
    in_process: None,
    tmp_path: Path,
    columns: dict[str, list[Any]],
    settings: dict[str, Any],
    message: str,
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "given.parquet")
    with pytest.raises(ValueError, match=message):
        job(given=str(tmp_path / "given.parquet"), **settings)
