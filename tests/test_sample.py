"""Sampling jobs: exact counts, shards that are the same bytes wherever drawn."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tables import small_table

from tasks import manifest, sample, storage
from tasks.config import Resources, SampleConfig

CONFIG = SampleConfig(rows=250, rows_per_shard=100, seed=5, log_prob=True)

Job = Callable[..., dict[str, Any]]


@pytest.fixture
def job(small_model: str, tmp_path: Path) -> Job:
    """`sample` with what the tests have in common."""

    def run(config: SampleConfig = CONFIG, **changes: Any) -> dict[str, Any]:
        output = changes.pop("output", str(tmp_path / "output"))
        return sample.sample(small_model, output, config, Resources(), **changes)

    return run


@pytest.fixture(scope="module")
def undisturbed(
    small_model: str, tmp_path_factory: pytest.TempPathFactory, ray: None
) -> Path:
    """The output of a job that nothing happened to; not to be changed."""
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    sample.sample(small_model, str(output), CONFIG, Resources())
    return output


def files(output: str | Path) -> Any:
    """Names, rows, sizes and checksums of all parts."""
    return storage.read_json(storage.join(str(output), manifest.MANIFEST))["files"]


def test_the_rows_are_as_many_and_as_asked_for(undisturbed: Path) -> None:
    parts = [pq.read_table(p) for p in sorted(undisturbed.glob("part-*.parquet"))]
    assert [part.num_rows for part in parts] == [100, 100, 50]
    rows = pa.concat_tables(parts)
    original = small_table().drop_columns(["id"]).schema
    assert rows.schema.names == [*original.names, "log_prob"]
    assert rows.schema.types[:-1] == original.types
    assert set(rows["kind"].to_pylist()) == {"a", "b", "c"}
    assert rows["log_prob"].null_count == 0
    assert not parts[0].equals(parts[1])


def test_a_shard_is_the_same_bytes_wherever_it_is_drawn(
    small_model: str, undisturbed: Path, tmp_path: Path
) -> None:
    whole = storage.read_json(str(undisturbed / manifest.MANIFEST))
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in an actor
    sampler = sample.Sampler(
        small_model, str(tmp_path), CONFIG, whole["model"], whole["job_key"]
    )
    found = [sampler(sample.Shard(i, 100))["files"] for i in (1, 0)]
    torch.set_num_threads(before)
    assert found == [[whole["files"][1]], [whole["files"][0]]]


def test_another_seed_gives_other_rows(
    job: Job, in_process: None, undisturbed: Path
) -> None:
    result = job(CONFIG.model_copy(update={"seed": 6, "rows": 100}))
    name = "part-00000.parquet"
    other = pq.read_table(Path(result["path"]) / name)
    assert not other.equals(pq.read_table(undisturbed / name))


def test_a_lost_part_alone_is_drawn_again(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(undisturbed, output)
    kept = (output / "part-00001.parquet").stat().st_mtime_ns
    (output / "part-00000.parquet").unlink()
    result = job()
    assert not result["done"] and result["rows_out"] == 250
    assert files(output) == files(undisturbed)
    assert (output / "part-00001.parquet").stat().st_mtime_ns == kept
    assert job()["done"]


def test_s3_gives_the_same_bytes(job: Job, undisturbed: Path, bucket: str) -> None:
    result = job(output=f"{bucket}/sampled")
    assert result["rows_out"] == 250
    assert files(f"{bucket}/sampled") == files(undisturbed)


def test_another_jobs_output_is_refused(job: Job, undisturbed: Path) -> None:
    before = sorted(os.listdir(undisturbed))
    with pytest.raises(FileExistsError, match="another job"):
        job(CONFIG.model_copy(update={"rows": 251}), output=str(undisturbed))
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
