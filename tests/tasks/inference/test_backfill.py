"""Incremental scoring: only new and changed partitions, also after a kill."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.inference import backfill
from tasks.inference.source import Source
from tests.support.scoring import kill_when, start
from tests.support.tables import small_table

ABOUT = {"name": "small", "version": "3", "fingerprint": "f"}


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Three days in hive folders, the second in two files."""
    for number, (day, part) in enumerate(
        [("2026-01-30", 0), ("2026-01-31", 0), ("2026-01-31", 1), ("2026-02-01", 0)]
    ):
        folder = tmp_path / "data" / f"day={day}"
        folder.mkdir(parents=True, exist_ok=True)
        table = small_table(60, seed=number)
        pq.write_table(table, folder / f"part-{part}.parquet")
    return tmp_path / "data"


def run(
    model: str, days: Path, output: Path, **options: Any
) -> backfill.BackfillResult:
    config = ScoreConfig(explain="none", **options.pop("config", {}))
    return backfill.backfill(
        model,
        Source(str(days)),
        str(output),
        config,
        Resources(),
        model_info=ABOUT,
        **options,
    )


def test_only_new_and_changed_partitions_are_scored(
    small_model: str, days: Path, tmp_path: Path, in_process: None
) -> None:
    output = tmp_path / "out"
    first = run(small_model, days, output, until="2026-01-31")
    assert first.scored == ["day=2026-01-30", "day=2026-01-31"]
    assert first.rows_out == 180
    assert first.path == f"{output}/version=3"
    second = run(small_model, days, output)
    assert (second.scored, second.rows_out) == (["day=2026-02-01"], 60)
    again = run(small_model, days, output)
    assert (again.scored, again.done) == ([], True)
    pq.write_table(small_table(70, seed=9), days / "day=2026-01-30" / "part-0.parquet")
    changed = run(small_model, days, output)
    assert (changed.scored, changed.rows_out) == (["day=2026-01-30"], 70)
    parts = sorted(output.glob("version=3/day=*/part-*.parquet"))
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 70 + 120 + 60


def test_versions_stand_side_by_side_or_replace_each_other(
    small_model: str, days: Path, tmp_path: Path, in_process: None
) -> None:
    one = {"until": "2026-01-30"}
    run(small_model, days, tmp_path / "out", **one)
    options = {"config": {"versions": "replace"}, **one}
    replaced = run(small_model, days, tmp_path / "out", **options)
    assert replaced.path == f"{tmp_path}/out/latest"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "latest",
        "version=3",
    ]


def test_a_partition_that_cannot_be_scored_does_not_keep_others_from_it(
    small_model: str, days: Path, tmp_path: Path, in_process: None
) -> None:
    (days / "day=2026-01-30" / "part-0.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match="1 of 3 .*day=2026-01-30: .*not a"):
        run(small_model, days, tmp_path / "out")
    scored = sorted(p.name for p in (tmp_path / "out" / "version=3").glob("*/part-*"))
    assert len(scored) == 3


def test_an_empty_range_is_told(small_model: str, days: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no partition lies between 2027 and the last"):
        run(small_model, days, tmp_path / "out", since="2027")


JOB = """
model, days, output = sys.argv[1:]
backfill.backfill(
    model, Source(days), output, ScoreConfig(explain="none"), Resources(),
    model_info={"name": "small", "version": "3", "fingerprint": "f"},
)
"""


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every part of all partitions, by name."""
    return {
        str(part.relative_to(folder)): hashlib.sha256(part.read_bytes()).hexdigest()
        for part in folder.rglob("part-*.parquet")
    }


def test_a_killed_backfill_goes_on_where_it_was(
    small_model: str, tmp_path: Path, in_process: None
) -> None:
    days = tmp_path / "data"
    for day in range(30):
        folder = days / f"day=2026-01-{day + 1:02d}"
        folder.mkdir(parents=True)
        pq.write_table(small_table(60, seed=day), folder / "part-0.parquet")
    whole = run(small_model, days, tmp_path / "whole")
    assert len(whole.scored) == 30
    output = tmp_path / "out"
    done = "version=3/day=*/_manifest.json"
    process = start(JOB, small_model, days, output)
    kill_when(lambda: len(list(output.glob(done))) >= 3, process)
    before = {path: path.stat().st_mtime_ns for path in output.glob(done)}
    assert 3 <= len(before) < 30
    rest = run(small_model, days, output)
    assert len(rest.scored) == 30 - len(before)
    assert rest.rows_out == 60 * len(rest.scored)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert hashes(output) == hashes(tmp_path / "whole")
