"""The evaluation of a model on the held-out test rows of a prepared dataset."""

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from tasks.config.evaluate import EvaluateConfig
from tasks.config.resources import Resources
from tasks.evaluation import baseline, held_out, segments
from tasks.evaluation.evaluation_summary import metrics, summarize
from tasks.evaluation.row_evaluator import BASELINE, ROWS, RowEvaluator
from tasks.reports import evaluation_figures, figures
from tasks.runtime import manifest, storage
from tasks.runtime.job import Job, JobResult
from tasks.runtime.model_store import describe, fingerprint, load

logger = logging.getLogger(__name__)

FORMAT = 6
"""Version of the results, part of the job key."""

EVALUATION = "evaluation.json"

Json = dict[str, Any]  # JSON values


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(JobResult):
    """The outcome of an evaluation.

    Attributes:
        metrics: The main measures by MLflow's names.
        rows: Number of test rows.
        rows_per_s: Rows per second of the call that finished the job.
        p_value_fault: What is wrong with the p-values of the test rows, in one line;
            None if they are uniform up to chance, or there are none.
    """

    metrics: dict[str, float]
    rows: int
    rows_per_s: float
    p_value_fault: str | None = None

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        evaluation = storage.read_json(storage.join(path, EVALUATION))
        return {
            "metrics": metrics(evaluation),
            "rows": evaluation["rows"],
            "p_value_fault": evaluation["p_value_fault"],
        }


def evaluate(
    model: str,
    prepared: str,
    output: str,
    config: EvaluateConfig,
    resources: Resources,
    *,
    overwrite: bool = False,
) -> EvaluationResult:
    """Evaluate a model on the test rows of a prepared dataset.

    Writes evaluation.json, results by row (see `read_rows`), a baseline and figures.

    Args:
        model: Directory of a trained model.
        prepared: Directory of the prepared dataset.
        output: Directory for the results, as for `Job`.
        config: Intervals, segments and labels.
        resources: Where the job runs.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: There are no test rows, or they lack a column.
    """
    began = time.monotonic()
    about = manifest.read_finished(prepared)
    density = load(model)
    depends_on = {
        "format": FORMAT,
        "model": fingerprint(density),
        "calibration": _calibration_key(density),
        "prepared": about["job_key"],
        "config": config.model_dump(mode="json"),
    }
    job = Job("evaluate", output, depends_on, overwrite, began)

    def work() -> Json:
        files = held_out.list_test_files(prepared, about)
        schema = held_out.read_schema(files[0].path)
        segments.check(schema, config.segments, config.label)
        _fit_baseline(density, prepared, about, config.baseline_rows, job.path)
        make = partial(RowEvaluator, model, config, job.path, job.key)
        completed = job.complete_parts(make, files, resources, subdirectory=ROWS)
        rows = held_out.read_folder(storage.join(job.path, ROWS), len(files))
        evaluation = summarize(density, completed.metadata, rows, config)
        storage.write_json(storage.join(job.path, EVALUATION), evaluation)
        _draw_figures(job.path, evaluation, rows)
        summary = manifest.file_entry(job.path, EVALUATION, 0)
        return {
            "inputs": {"prepared": about["job_key"]},
            "model": describe(density, {"name": density.info.get("name")}),
            "config": depends_on["config"],
            "rows_in": len(rows),
            "rows_out": len(rows),
            "rows_quarantined": 0,
            "rows_per_s": job.rows_per_s(len(rows)),
            "files": [*completed.files(ROWS), summary],
        }

    return job.run(work, EvaluationResult)


def read_rows(folder: str) -> pa.Table:
    """Read what an evaluation computed for each test row, in the rows' order.

    Args:
        folder: Directory of the evaluation.

    Returns:
        log_prob, independent_log_prob, anomaly_score (nats) and p_value and, if
        configured, the segments and the label.
    """
    return held_out.read_folder(storage.join(folder, ROWS))


def _calibration_key(density: TableDensity) -> str:
    """Return a hash of the calibration scores, which the model's fingerprint lacks."""
    return manifest.job_key(
        **{name: float(scores.sum()) for name, scores in density.calibration.items()}
    )


def _fit_baseline(
    density: TableDensity, prepared: str, about: Json, rows: int, folder: str
) -> None:
    """Write the baseline of independent columns, unless it is there already."""
    target = storage.join(folder, BASELINE)
    if storage.exists(storage.join(target, "model.json")):
        try:
            load(target)
            return
        except (ValueError, FileNotFoundError) as error:
            logger.warning("%s; it is fitted again", error)
    x = baseline.read_training_rows(prepared, about, rows)
    model = baseline.fit(density.encoder.variables, x)
    with tempfile.TemporaryDirectory() as temporary:
        save_density(TableDensity(density.encoder, model), Path(temporary))
        for name in ("weights.safetensors", "model.json"):
            with storage.publish(storage.join(target, name)) as unfinished:
                unfinished.write_bytes((Path(temporary) / name).read_bytes())


def _draw_figures(folder: str, evaluation: Json, rows: pa.Table) -> None:
    """Draw the figures of an evaluation to figures/NAME.png in its directory."""
    columns = evaluation["columns"]
    scores = rows["anomaly_score"].to_numpy()
    drawn: dict[str, Any] = {
        "columns": partial(evaluation_figures.draw_gains, columns),
        "calibration": partial(evaluation_figures.draw_calibration, columns),
        "scores": partial(evaluation_figures.draw_scores, scores),
    }
    if evaluation["p_value_ks"] is not None:
        drawn["p_values"] = partial(
            evaluation_figures.draw_p_values, rows["p_value"].to_numpy()
        )
    figures.save_all(drawn, storage.join(folder, "figures"))
