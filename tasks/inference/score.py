"""Probability and anomaly score of every row of a dataset, in two passes over it.

The first pass asks the model about every row and writes parts to a directory of its
own. The second completes each part by what depends on all rows together: q-values and
anomalies. It asks the model only about anomalies that are not explained yet.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ar_models.density.scorer import Scorer, output_schema
from ar_models.density.table_density import TableDensity
from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.data.datasets import Dataset
from tasks.data.fragments import Fragment
from tasks.inference import selection
from tasks.inference.first_pass import MOST_ANOMALOUS, FirstPass
from tasks.inference.quarantine import PLACE_COLUMNS, QUARANTINE_COLUMNS
from tasks.inference.scoring_plan import FIRST_PASS, ScoringPlan, rule_of, score_options
from tasks.inference.second_pass import SecondPass
from tasks.inference.source import (
    Source,
    UnreadableFile,
    carried_columns,
    unreadable_files,
)
from tasks.runtime import actors, model_store, parts, storage
from tasks.runtime.job import Job, JobResult

Json = dict[str, Any]  # JSON values

FORMAT = 6
"""Version of the output, in the job key; raised when the same job gives other rows."""


@dataclass(frozen=True)
class AnomalousRow:
    """One of the most anomalous rows of a scoring job.

    Attributes:
        source: File of the row, relative to the dataset.
        row: Position of the row in the file.
        ids: Values of the id and partition columns.
        log_prob: Log-probability of the row, in nats.
        anomaly_score: The configured statistic.
        p_value: Conformal p-value; None for an uncalibrated model.
        severity: The p-value's negative decimal logarithm; None likewise.
        q_value: False discovery rate at which the row is an anomaly; None likewise.
        explanation: The columns that contribute most, most anomalous first.
    """

    source: str
    row: int
    ids: dict[str, int | float | str | None]
    log_prob: float
    anomaly_score: float
    p_value: float | None
    severity: float | None
    q_value: float | None
    explanation: list[dict[str, Any]] | None  # see ar_models.scoring.explanation


@dataclass(frozen=True, kw_only=True)
class ScoreResult(JobResult):
    """The outcome of a scoring job.

    Attributes:
        rows_in: Rows of the dataset.
        rows_out: Rows that were scored.
        rows_quarantined: Rows that could not be scored.
        anomalies: Number of anomalies.
        most_anomalous: The most anomalous rows with their explanations.
        rule: `threshold`, `fdr` or `budget`, and its value, which makes anomalies.
        segments: Segments that rows are compared within; empty if they are not.
        bad_files: Files that were set aside; their rows are not counted.
        missing_columns: Number of files that lack a column, and in which it is null.
        rows_per_s: Rows per second of the call that finished the job.
        p_value_fault: What was wrong with the model's p-values when it was registered,
            in one line; None if they were uniform up to chance.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int
    anomalies: int
    most_anomalous: list[AnomalousRow]
    rule: dict[str, float]
    segments: list[dict[str, Any]]  # see TableDensity.segments
    bad_files: list[UnreadableFile]
    missing_columns: dict[str, int]
    rows_per_s: float
    p_value_fault: str | None = None

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        return {"p_value_fault": content["model"].get("p_value_fault")}


def score(
    model: str,
    source: Source,
    output: str,
    config: ScoreConfig,
    resources: Resources,
    *,
    model_info: Mapping[str, Any] | None = None,  # JSON-able
    overwrite: bool = False,
) -> ScoreResult:
    """Score every row of a dataset; each fragment becomes exactly one part.

    Part k holds, in input order, the place (if the source adds it), id and partition
    columns of fragment k and the columns of `TableDensity.score` for all fragments as
    one dataset. Rows that cannot be scored are in `quarantine/` with the reason.

    Args:
        model: Directory of a saved `TableDensity`, local or S3.
        source: The dataset.
        output: Directory for the results, as for `Job`.
        config: What is written; its `input` and `output` are ignored.
        resources: Where the job runs.
        model_info: What the manifest says about the model: name, version, run id.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: The model cannot read the dataset, or lacks what `config` needs.
        FileExistsError: The directory holds other results.
    """
    began = time.monotonic()
    density = model_store.load(model)
    dataset = source.open(config.rows_per_fragment, density.encoder)
    carried = output_columns(density, source, dataset, config)
    about = model_store.describe(density, model_info)
    depends_on = {
        "format": FORMAT,
        "model": about["fingerprint"],
        "data": dataset.fingerprint,
        "config": config.model_dump(exclude={"input", "output"}),
        "carried": [*(PLACE_COLUMNS if source.adds_place else ()), *carried],
    }
    job = Job("score", output, depends_on, overwrite, began, dataset, ("", FIRST_PASS))
    plan = ScoringPlan(model, source, job.path, config, carried, about, job.key)

    def work() -> dict[str, Any]:
        completed = run_passes(job, plan, dataset.fragments, density, resources)
        return {
            "input": source.path,
            "data": dataset.fingerprint,
            "model": about,
            "config": depends_on["config"],
            "rule": plan.metadata["rule"],
            "segments": segments(density, config),
            **totals(completed),
            "bad_files": unreadable_files(dataset),
            "missing_columns": dataset.missing_columns,
            "rows_per_s": job.rows_per_s(completed.new_rows),
        }

    return job.run(work, ScoreResult)


def output_columns(
    density: TableDensity, source: Source, dataset: Dataset, config: ScoreConfig
) -> tuple[str, ...]:
    """Return the columns to copy to the output, once all options are checked.

    Raises:
        ValueError: The model cannot read the dataset, lacks what `config` needs, or a
            column has the name of an output column.
    """
    written = output_schema(density.columns, density.sequences).names
    taken = {*written, *QUARANTINE_COLUMNS}
    carried = carried_columns(density, source, dataset, taken)
    # Raises for bad options before any work is done.
    scorer = Scorer(density, score_options(config))
    scorer.score_rows(dataset.schema.empty_table())
    return carried


def run_passes(
    job: Job,
    plan: ScoringPlan,
    fragments: Sequence[Fragment],
    density: TableDensity,
    resources: Resources,
) -> parts.CompletedParts:
    """Write the parts that are missing; both passes use the same Ray actors.

    The rows of finished parts count for the selection of anomalies as those of the
    first pass do, so that the model is not asked about them again.

    Returns:
        All parts; `new_rows` are the rows that the model was asked about.
    """
    whole = parts.finished(plan.path, plan.key, fragments)
    missing = [fragment for fragment in fragments if fragment.index not in whole]
    with actors.actor_pool(resources.gpus_per_process) as pool:
        staged = job.complete_parts(
            partial(FirstPass, plan),
            missing,
            resources,
            subdirectory=FIRST_PASS,
            pool=pool,
        )
        paths = [
            storage.join(
                plan.path if fragment.index in whole else plan.first_pass,
                parts.file_name(fragment.index),
            )
            for fragment in fragments
        ]
        selected = selection.select_anomalies(
            paths, rule_of(plan.config), bool(density.calibration)
        )
        completed = job.complete_parts(
            partial(SecondPass, plan, selected),
            fragments,
            resources,
            label="score: rows completed",
            pool=pool,
        )
    storage.delete(plan.first_pass)
    return parts.CompletedParts(completed.metadata, staged.new_rows)


def segments(density: TableDensity, config: ScoreConfig) -> list[dict[str, Any]]:
    """Return the segments that rows are compared within, empty if they are not."""
    if config.calibrate_by is None:
        return []
    found = density.segments(config.calibrate_by, config.min_segment_rows)
    return [asdict(segment) for segment in found]


def totals(completed: parts.CompletedParts) -> dict[str, Any]:
    """Return what the manifest says about all parts together."""
    counts = ("rows_in", "rows_out", "rows_quarantined", "anomalies")
    rows = [row for part in completed.metadata for row in part["most_anomalous"]]
    rows.sort(key=lambda row: (row["p_value"] or 0.0, -row["anomaly_score"]))
    return {
        **{name: completed.total(name) for name in counts},
        "most_anomalous": rows[:MOST_ANOMALOUS],
        "files": completed.files(),
    }
