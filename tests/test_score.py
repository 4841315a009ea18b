"""Scoring jobs: every row once, in order, resumable, the same bytes every time."""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tables import small_table

from ar_models import judgement
from ar_models.density import TableDensity
from ar_models.explanation import text
from tasks import datasets, flagging, manifest, score, storage
from tasks.config import Resources, ScoreConfig

CONFIG = ScoreConfig(rows_per_fragment=400)
ROWS = 1000  # fragments of 400, 400 and 200

Job = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 1000 rows, one of which is strange."""
    table = small_table(ROWS, seed=7)
    count = table["count"].to_pylist()
    count[123] = 500
    table = table.set_column(2, "count", pa.array(count))
    path = tmp_path_factory.mktemp("source") / "rows.parquet"
    pq.write_table(table, path, row_group_size=200)
    return path


@pytest.fixture
def job(small_model: str, source: Path, tmp_path: Path) -> Job:
    """`score` with what the tests have in common."""

    def run(**changes: Any) -> dict[str, Any]:
        arguments = {
            "model": small_model,
            "source": str(source),
            "output": str(tmp_path / "output"),
            "config": CONFIG,
            "resources": Resources(),
            "id_columns": ("id",),
            "model_info": {"name": "small", "version": 3, "run_id": "r1"},
        }
        return score.score(**{**arguments, **changes})

    return run


@pytest.fixture(scope="module")
def undisturbed(
    small_model: str, source: Path, tmp_path_factory: pytest.TempPathFactory, ray: None
) -> Path:
    """The output of a job that nothing happened to, by two actors; not to change."""
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    score.score(
        small_model,
        str(source),
        str(output),
        CONFIG,
        Resources(),
        id_columns=("id",),
        model_info={"name": "small", "version": 3, "run_id": "r1"},
    )
    return output


def content(output: str | Path) -> dict[str, Any]:
    """The manifest of a job, without what differs between equal runs."""
    found = storage.read_json(storage.join(str(output), manifest.MANIFEST))
    for name in ("started", "finished", "seconds", "rows_per_s", "input"):
        del found[name]
    return dict(found)


def times(output: Path) -> dict[str, int]:
    """When each file was last written, in nanoseconds."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(output.rglob("*"))}


def test_every_row_is_scored_in_order(
    undisturbed: Path, small_model: str, source: Path
) -> None:
    names = sorted(os.listdir(undisturbed))
    assert names == ["_manifest.json"] + [f"part-0000{i}.parquet" for i in range(3)]
    parts = [pq.read_table(undisturbed / name) for name in names[1:]]
    assert [part.num_rows for part in parts] == [400, 400, 200]
    found = pa.concat_tables(parts)
    rows = pq.read_table(source)
    assert found.column_names[0] == "id" and found["id"].equals(rows["id"])
    expected = TableDensity.load(Path(small_model)).score(rows, explain="flagged")
    assert found.column_names[1:] == expected.column_names
    for name in ("log_prob", "p_value", "q_value", "severity"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    assert found["is_anomaly"].equals(expected["is_anomaly"])
    explained = found["explanation"].is_valid()
    assert explained.equals(found["is_anomaly"])


def test_the_footer_tells_what_was_scored_with_what(undisturbed: Path) -> None:
    metadata = pq.read_schema(undisturbed / "part-00001.parquet").metadata
    facts = json.loads(metadata[b"chainrule"])
    model = facts["model"]
    assert (model["name"], model["version"], model["run_id"]) == ("small", 3, "r1")
    assert len(model["fingerprint"]) == 64 and facts["rule"] == {"threshold": 99.9}
    assert facts["rows_in"] == facts["rows_out"] == 400
    assert facts["first_row"] == 400 and facts["rows_quarantined"] == 0
    assert facts["job_key"] == content(undisturbed)["job_key"]


def test_the_manifest_counts_and_names_the_strangest_rows(undisturbed: Path) -> None:
    found = content(undisturbed)
    assert found["rows_in"] == found["rows_out"] == ROWS
    scored = pa.concat_tables(
        [pq.read_table(p) for p in sorted(undisturbed.glob("*.parquet"))]
    )
    assert found["anomalies"] == pc.sum(scored["is_anomaly"]).as_py() > 0
    assert found["rule"] == {"threshold": 99.9} and found["segments"] == []
    scores = [row["anomaly_score"] for row in found["strangest"]]
    assert (
        scores == sorted(scored["anomaly_score"].to_pylist())[: -len(scores) - 1 : -1]
    )
    first = found["strangest"][0]
    assert first["ids"] == {"id": "row-7-123"} and first["row"] == 123
    assert first["explanation"][0]["column"] == "count"
    assert first["explanation"][0]["value"] == "500"


def test_nothing_need_be_carried(job: Job) -> None:
    done = job(id_columns=())
    assert done["rows_out"] == ROWS
    assert [row["ids"] for row in done["strangest"]] == [{}] * 5
    assert done["strangest"][0]["row"] == 123


def test_a_finished_job_is_left_alone(job: Job, undisturbed: Path) -> None:
    before = times(undisturbed)
    result = job(output=str(undisturbed))
    assert result["done"] and result["rows_out"] == ROWS
    assert times(undisturbed) == before


def test_a_lost_part_alone_is_made_again(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(undisturbed, output)
    before = times(output)
    (output / "part-00001.parquet").unlink()
    result = job()
    assert not result["done"] and result["rows_out"] == ROWS
    changed = {Path(p).name for p, t in times(output).items() if before[p] != t}
    assert changed == {"_manifest.json", "part-00001.parquet"}
    assert content(output) == content(undisturbed)


def test_a_killed_job_is_completed_to_the_same_bytes(
    job: Job, small_model: str, source: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    program = """
import sys, time
from tasks import parts, score
from tasks.config import Resources, ScoreConfig
write = parts.write
def slow(place, file, table, facts, **more):
    if file != "part-00000.parquet":
        with parts.storage.publish(f"{place}/{file}") as unfinished:
            unfinished.write_bytes(b"half")
            time.sleep(600)
    return write(place, file, table, facts, **more)
class Slow(score.Finisher):
    def __call__(self, fragment):
        parts.write = slow
        return super().__call__(fragment)
score.Finisher = Slow
score.score(*sys.argv[1:4], ScoreConfig(rows_per_fragment=400), Resources(),
            id_columns=("id",),
            model_info={"name": "small", "version": 3, "run_id": "r1"})
"""
    arguments = [small_model, str(source), str(output)]
    victim = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not half_done(output) and time.monotonic() < deadline:
            assert victim.poll() is None
            time.sleep(0.05)
        assert half_done(output)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait(timeout=10)
    whole = (output / "part-00000.parquet").stat().st_mtime_ns
    result = job()
    assert not result["done"] and result["rows_out"] == ROWS
    assert (output / "part-00000.parquet").stat().st_mtime_ns == whole
    assert sorted(os.listdir(output)) == sorted(os.listdir(undisturbed))
    assert content(output) == content(undisturbed)


@pytest.mark.parametrize("stage", ["Scorer", "flagging.survey", "Finisher"])
def test_a_job_stopped_anywhere_is_completed_to_the_same_bytes(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path, stage: str
) -> None:
    output = tmp_path / "output"
    asked = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    class Once(score.Scorer):
        def __call__(self, fragment: datasets.Fragment) -> Any:
            asked.append(fragment.index)
            if stage == "Scorer" and fragment.index == 1 and len(asked) == 2:
                raise KeyboardInterrupt
            return super().__call__(fragment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "Scorer", Once)
        if stage != "Scorer":
            patch.setattr(f"tasks.score.{stage}", stop)
        with pytest.raises(KeyboardInterrupt):
            job()
        assert not list(output.glob("part-*"))
        if stage != "Scorer":
            patch.undo()
            patch.setattr(score, "Scorer", Once)
        result = job()
    # No row that stood in a whole part was shown to the model again.
    assert asked == ([0, 1, 1, 2] if stage == "Scorer" else [0, 1, 2])
    assert result["rows_out"] == ROWS
    assert sorted(os.listdir(output)) == sorted(os.listdir(undisturbed))
    assert content(output) == content(undisturbed)


def half_done(output: Path) -> bool:
    """Whether one part in a folder is whole and another one is being written."""
    names = os.listdir(output) if output.exists() else []
    unfinished = any(n.startswith(".tmp-") and "part-" in n for n in names)
    return unfinished and "part-00000.parquet" in names


def test_one_process_gives_the_bytes_of_two(
    job: Job, in_process: None, undisturbed: Path
) -> None:
    assert content(job()["path"]) == content(undisturbed)


def test_s3_gives_what_local_folders_give(
    job: Job,
    in_process: None,
    bucket: str,
    small_model: str,
    source: Path,
    undisturbed: Path,
) -> None:
    for path in [source, *Path(small_model).iterdir()]:
        with storage.publish(f"{bucket}/score/{path.parent.name}/{path.name}") as copy:
            shutil.copy(path, copy)
    result = job(
        model=f"{bucket}/score/{Path(small_model).name}",
        source=f"{bucket}/score/{source.parent.name}/rows.parquet",
        output=f"{bucket}/score/output",
    )
    assert result["rows_out"] == ROWS
    found = content(f"{bucket}/score/output")["files"]
    local = content(undisturbed)["files"]
    # Job keys differ, since data on S3 have another fingerprint; they are in footers.
    assert [e["rows"] for e in found] == [e["rows"] for e in local]
    filesystem, inner = storage.resolve(f"{bucket}/score/output/part-00002.parquet")
    assert pq.read_table(inner, filesystem=filesystem).equals(
        pq.read_table(undisturbed / "part-00002.parquet")
    )
    again = job(
        model=f"{bucket}/score/{Path(small_model).name}",
        source=f"{bucket}/score/{source.parent.name}/rows.parquet",
        output=f"{bucket}/score/output",
    )
    assert again["done"]


def test_another_jobs_output_is_refused_and_overwritten_on_demand(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(undisturbed, output)
    before = times(output)
    other = CONFIG.model_copy(update={"explain": "none", "threshold": 99.0})
    with pytest.raises(FileExistsError, match="another job.*--overwrite"):
        job(config=other)
    assert times(output) == before
    result = job(config=other, overwrite=True)
    assert result["rows_out"] == ROWS
    found = pq.read_table(output / "part-00000.parquet")
    assert found["explanation"].null_count == 400
    # The strangest are explained all the same.
    assert result["strangest"][0]["explanation"][0]["column"] == "count"


def test_partition_columns_are_carried(
    job: Job, in_process: None, tmp_path: Path
) -> None:
    for month in (2, 10):
        path = tmp_path / "hive" / f"month={month}" / "rows.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(small_table(30 * month, seed=month), path)
    result = job(source=str(tmp_path / "hive"))
    assert result["rows_out"] == 360
    found = [pq.read_table(p) for p in sorted((tmp_path / "output").glob("*.parquet"))]
    assert [t.column_names[:3] for t in found] == [["id", "month", "log_prob"]] * 2
    assert [t["month"].unique().to_pylist() for t in found] == [[2], [10]]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder with a good file, one with a damaged page, and one that is none."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    pq.write_table(small_table(50), folder / "a.parquet")
    pq.write_table(small_table(70, seed=1), folder / "b.parquet")
    with open(folder / "b.parquet", "r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 1000)
    return folder


def test_a_damaged_file_stops_the_job_by_its_name(
    job: Job, in_process: None, damaged: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        job(source=str(damaged))
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(f"{damaged}/b.parquet: is damaged (")
    assert "data.on_bad_file: quarantine" in str(caught.value)
    assert not (tmp_path / "output" / manifest.MANIFEST).exists()


@pytest.mark.parametrize("ids", [("id",), ()])
def test_rows_that_cannot_be_read_go_to_quarantine(
    job: Job, in_process: None, damaged: Path, tmp_path: Path, ids: tuple[str, ...]
) -> None:
    (damaged / "c.parquet").write_text("no Parquet")
    changes = {"on_bad_file": "quarantine", "id_columns": ids}
    result = job(source=str(damaged), **changes)
    assert (result["rows_in"], result["rows_out"]) == (120, 50)
    assert result["rows_quarantined"] == 70
    assert [bad["name"] for bad in result["bad_files"]] == ["c.parquet"]
    output = tmp_path / "output"
    assert pq.read_table(output / "part-00001.parquet").num_rows == 0
    bad = pq.read_table(output / "quarantine" / "part-00001.parquet")
    assert bad.column_names == [*ids, "source", "row", "reason"]
    assert bad["row"].to_pylist() == list(range(70))
    assert "b.parquet: is damaged" in bad["reason"][0].as_py()
    assert job(source=str(damaged), **changes)["done"]


def test_rows_without_a_finite_score_go_to_quarantine(
    small_model: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = score.measure

    def broken(density: TableDensity, table: pa.Table, config: ScoreConfig) -> Any:
        scored = measure(density, table, config)
        numbers = scored["log_prob"].to_numpy().copy()
        numbers[2:4] = np.nan, -np.inf
        return scored.set_column(0, "log_prob", pa.array(numbers))

    monkeypatch.setattr(score, "measure", broken)
    # All that are left are flagged, and explained in the second pass.
    config = CONFIG.model_copy(update={"budget": 10**6})
    dataset = datasets.open_dataset(str(source), rows_per_fragment=400)
    work = score.Job(small_model, str(tmp_path), config, ("id",), {}, "k", "stop")
    score.Scorer(work)(dataset.fragments[1])
    path = f"{work.staged}/part-00001.parquet"
    verdict = flagging.survey([path], score.rule_of(config), True)
    cut = verdict.cut
    assert cut is not None
    verdict = replace(verdict, cut=replace(cut, quotas=(0, *cut.quotas)))
    facts = score.Finisher(work, verdict)(dataset.fragments[1])
    assert (facts["rows_out"], facts["rows_quarantined"]) == (398, 2)
    assert facts["anomalies"] == 398
    bad = pq.read_table(tmp_path / "quarantine" / "part-00001.parquet")
    assert bad["id"].to_pylist() == ["row-7-402", "row-7-403"]
    assert bad["row"].to_pylist() == [402, 403]
    assert bad["reason"][0].as_py().startswith("log_prob is nan, anomaly_score is ")
    good = pq.read_table(tmp_path / "part-00001.parquet")
    assert good["id"].to_pylist()[:3] == ["row-7-400", "row-7-401", "row-7-404"]
    rows = pq.read_table(source).slice(400, 400)
    # Each row's explanation is its own, not that of a neighbour.
    for place, row in ((1, 1), (2, 4), (397, 399)):
        named = {e["column"]: e["value"] for e in good["explanation"][place].as_py()}
        for column, value in named.items():
            cell = rows[column][row].as_py()
            assert value == ("missing" if cell is None else text(cell))


def test_a_file_that_changes_while_it_is_scored_is_noticed(
    small_model: str, source: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "rows.parquet"
    shutil.copy(source, copy)
    dataset = datasets.open_dataset(str(copy), rows_per_fragment=400)
    pq.write_table(small_table(900), copy, row_group_size=150)
    work = score.Job(small_model, str(tmp_path), CONFIG, ("id",), {}, "k", "stop")
    scorer = score.Scorer(work)
    with pytest.raises(ValueError, match="held 400 rows.*and now holds 300"):
        scorer(dataset.fragments[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id_columns": ("idd",)}, "no column 'idd'; did you mean 'id'"),
        ({"source": "empty.parquet"}, "empty.parquet: holds no rows"),
        ({"source": "short.parquet"}, "short.parquet: column 'paid' is missing"),
        ({"source": "typed.parquet"}, "typed.parquet: column 'count' is string"),
        (
            {"source": "named.parquet", "id_columns": ("log_prob",)},
            "column 'log_prob' has the name of a column of the output",
        ),
    ],
)
def test_bad_input_is_one_clear_message_and_leaves_no_output(
    job: Job, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    table = small_table(20)
    bad = {
        "empty": table.slice(0, 0),
        "short": table.drop_columns(["paid"]),
        "typed": table.set_column(2, "count", pa.array(["many"] * 20)),
        "named": table.append_column("log_prob", table["paid"]),
    }
    for name, each in bad.items():
        pq.write_table(each, tmp_path / f"{name}.parquet")
    if "source" in change:
        change = {**change, "source": str(tmp_path / change["source"])}
    with pytest.raises(ValueError, match=message):
        job(**change)
    assert not (tmp_path / "output").exists()


def test_a_missing_model_is_named_before_anything_is_written(
    job: Job, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        job(model=str(tmp_path / "nowhere"))
    assert not (tmp_path / "output").exists()


def table_of(folder: str | Path) -> pa.Table:
    """All scored rows of a local job."""
    paths = sorted(Path(folder).glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(path) for path in paths])


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values as the textbook has them, by a loop."""
    order = np.argsort(p_values)
    q_values, least = np.empty(len(p_values)), 1.0
    for rank in range(len(p_values), 0, -1):
        row = order[rank - 1]
        least = min(least, p_values[row] * len(p_values) / rank)
        q_values[row] = least
    return q_values


def test_q_values_are_those_of_the_whole_dataset(undisturbed: Path) -> None:
    found = table_of(undisturbed)
    expected = benjamini_hochberg(found["p_value"].to_numpy())
    np.testing.assert_allclose(found["q_value"], expected, rtol=1e-12)
    strangest = content(undisturbed)["strangest"][0]
    assert strangest["q_value"] == expected.min()


@pytest.mark.parametrize(
    ("rule", "flagged"),
    [
        ({"fdr": 0.9}, lambda found: found["q_value"].to_numpy() <= 0.9),
        ({"threshold": 97.0}, lambda found: found["severity"].to_numpy() >= 97),
        ({"budget": 0.05}, None),
        ({"budget": 7}, None),
    ],
)
def test_rules_change_flags_and_explanations_alone(
    job: Job,
    in_process: None,
    undisturbed: Path,
    tmp_path: Path,
    rule: dict[str, Any],
    flagged: Callable[[pa.Table], np.ndarray] | None,
) -> None:
    before = table_of(undisturbed)
    result = job(config=ScoreConfig(rows_per_fragment=400, **rule))
    assert result["rule"] == rule
    found = table_of(tmp_path / "output")
    for name in ("log_prob", "anomaly_score", "p_value", "q_value", "severity"):
        assert found[name].equals(before[name])
    flags = found["is_anomaly"].to_numpy()
    if flagged is None:
        (value,) = rule.values()
        order = np.lexsort(
            [-found["anomaly_score"].to_numpy(), found["p_value"].to_numpy()]
        )
        taken = value if value >= 1 else int(value * ROWS)
        assert set(np.flatnonzero(flags)) == set(order[:taken])
    else:
        np.testing.assert_array_equal(flags, flagged(found))
    assert 0 < flags.sum() == result["anomalies"] < ROWS
    assert found["explanation"].is_valid().to_numpy().tolist() == flags.tolist()
    assert not (tmp_path / "output" / score.STAGED).exists()


def test_bf16_is_another_job_with_nearly_the_same_scores(
    job: Job, in_process: None, undisturbed: Path, tmp_path: Path
) -> None:
    before = table_of(undisturbed)
    job(config=ScoreConfig(rows_per_fragment=400, precision="bf16"))
    found = table_of(tmp_path / "output")

    off = np.abs(found["log_prob"].to_numpy() - before["log_prob"].to_numpy())
    assert 0 < np.median(off) < 0.2
    assert found["id"].equals(before["id"])
    keys = [
        json.loads((folder / manifest.MANIFEST).read_text())["job_key"]
        for folder in (undisturbed, tmp_path / "output")
    ]
    assert keys[0] != keys[1]


def test_ties_do_not_exceed_a_budget(
    job: Job, in_process: None, tmp_path: Path
) -> None:
    rows = small_table(200, seed=3)
    same = rows.take(pa.array([5] * 90))
    (tmp_path / "same").mkdir()
    for part in range(3):
        pq.write_table(same.slice(0, 30), tmp_path / "same" / f"{part}.parquet")
    result = job(source=str(tmp_path / "same"), config=ScoreConfig(budget=40))
    assert result["anomalies"] == 40
    flags = table_of(tmp_path / "output")["is_anomaly"].to_pylist()
    assert flags == [True] * 40 + [False] * 50


def test_a_budget_needs_no_calibration_rows(
    job: Job, in_process: None, small_model: str, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(small_model, bare)
    (bare / "calibration.parquet").unlink()
    with pytest.raises(ValueError, match="flag by a budget"):
        job(model=str(bare))
    config = ScoreConfig(rows_per_fragment=400, budget=9)
    assert job(model=str(bare), config=config)["anomalies"] == 9
    found = table_of(tmp_path / "output")
    scores = found["anomaly_score"].to_numpy()
    flags = found["is_anomaly"].to_numpy()
    assert scores[flags].min() > scores[~flags].max()
    assert found["q_value"].null_count == ROWS
    assert found["explanation"].is_valid().to_numpy().sum() == 9


def test_segments_have_a_scale_of_their_own(
    job: Job, in_process: None, small_model: str, source: Path, tmp_path: Path
) -> None:
    density = TableDensity.load(Path(small_model))
    config = ScoreConfig(rows_per_fragment=400, calibrate_by="kind", segment_rows=45)
    result = job(config=config)
    own = {entry["value"]: entry for entry in result["segments"]}
    codes = density.calibration["segment:kind"]
    labels = density.encoder.labels(0)
    counts = {label: int((codes == k).sum()) for k, label in enumerate(labels)}
    assert {v: e["calibration_rows"] for v, e in own.items()} == counts
    assert {v for v, e in own.items() if not e["own"]} == {
        v for v, n in counts.items() if n < 45
    }
    found = table_of(tmp_path / "output")
    kinds = np.array(pq.read_table(source)["kind"].to_pylist())
    for value, entry in own.items():
        rows = kinds == value
        scores = found["anomaly_score"].to_numpy()[rows]
        pool = density.calibration_scores(ScoreConfig().statistic)
        if entry["own"]:
            pool = pool[codes == labels.index(value)]
        stranger = (pool[None] >= scores[:, None] - 1e-4).sum(axis=1)
        expected = (1 + stranger) / (1 + len(pool))
        np.testing.assert_allclose(found["p_value"].to_numpy()[rows], expected)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("count", "'count' is modelled as integer, and only binary and categorical"),
        ("id", "'id' is not modelled"),
        (
            "kin",
            r"only binary and categorical columns can be segments: \['kind', 'late",
        ),
    ],
)
def test_a_column_that_cannot_segment_is_refused(
    job: Job, tmp_path: Path, column: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        job(config=ScoreConfig(calibrate_by=column))
    assert not (tmp_path / "output").exists()


def test_the_default_statistic_is_the_same_everywhere() -> None:
    assert ScoreConfig().statistic == judgement.DEFAULT
    for method in (TableDensity.score, TableDensity.measure, TableDensity.reference):
        default = inspect.signature(method).parameters["statistic"].default
        assert default == judgement.DEFAULT
