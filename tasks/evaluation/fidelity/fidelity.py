"""The fidelity of synthetic rows, compared with training and held-out rows.

Where possible each measure is also taken of training rows in place of synthetic ones:
this is the best value that can be expected.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ar_models.density.sampler import Sampler
from ar_models.density.table_density import TableDensity
from tasks.config.fidelity import FidelityConfig
from tasks.data.datasets import Dataset
from tasks.evaluation.fidelity import page, tables
from tasks.evaluation.fidelity.classifiers import (
    ColumnImportance,
    TwoSampleTest,
    check_target,
    compare_downstream,
)
from tasks.evaluation.fidelity.closest_record import compare_closest
from tasks.evaluation.fidelity.findings import Finding
from tasks.evaluation.fidelity.marginals import compare_marginals
from tasks.evaluation.fidelity.plausibility import compare_plausibility
from tasks.evaluation.fidelity.support import compare_support
from tasks.evaluation.fidelity.tables import Tables
from tasks.evaluation.intervals import bootstrap_interval
from tasks.reports import pages
from tasks.reports.list_columns import flatten_lists
from tasks.runtime import manifest, storage
from tasks.runtime.job import Job, JobResult
from tasks.runtime.model_store import fingerprint, load

logger = logging.getLogger(__name__)

FORMAT = 4
"""Version of the results, part of the job key."""

FIDELITY, PAGE = "fidelity.json", "fidelity.html"

AUTO = "auto"
"""Value of `fidelity.samples` that draws the synthetic rows now."""

SCORED_ROWS = 10_000
"""Maximum number of synthetic and of held-out rows that the model scores."""

Json = dict[str, Any]  # JSON values


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """Numbers of the compared rows.

    Attributes:
        train: Training rows.
        held_out: Held-out rows.
        synthetic: Synthetic rows.
    """

    train: int
    held_out: int
    synthetic: int


@dataclass(frozen=True, kw_only=True)
class FidelityResult(JobResult):
    """The outcome of a comparison of synthetic with real rows.

    Attributes:
        page: Path of the page.
        metrics: The main measures by MLflow's names.
        rows: Numbers of the compared rows.
        findings: The rules of real rows that synthetic rows violate, the most violated
            first.
        separating_columns: The columns by which synthetic rows are told from held-out
            rows, by importance.
    """

    page: str
    metrics: dict[str, float]
    rows: RowCounts
    findings: tuple[Finding, ...]
    separating_columns: tuple[ColumnImportance, ...]

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        result = storage.read_json(storage.join(path, FIDELITY))
        return {
            "page": storage.join(path, PAGE),
            "metrics": metrics(result),
            "rows": result["rows"],
            "findings": result["plausibility"]["findings"],
            "separating_columns": result["two_sample_auc"]["columns"],
        }


def measure_fidelity(
    model: str,
    prepared: str,
    output: str,
    config: FidelityConfig,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> FidelityResult:
    """Compare synthetic rows with the training and test rows of a prepared dataset.

    Writes fidelity.json and fidelity.html.

    Args:
        model: Directory of the model.
        prepared: Directory of the dataset that it was trained on.
        output: Directory for the results; `{key}` in it stands for the job key.
        config: The synthetic rows, and how they are compared.
        name: Name of the model in the page's heading.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: There are no test rows, the synthetic rows lack a column, or the
            target is not a modelled column.
    """
    began = time.monotonic()
    density = load(model)
    about = manifest.read_finished(prepared)
    check_target(density, config.target)
    samples = None
    if config.samples not in (None, AUTO):
        samples = tables.open_samples(density, str(config.samples), config.rows)
    depends_on = {
        "format": FORMAT,
        "name": name,
        "model": fingerprint(density),
        "prepared": about["job_key"],
        "samples": samples.fingerprint if samples else AUTO,
        "config": config.model_dump(mode="json", exclude={"samples"}),
    }
    job = Job("fidelity", output, depends_on, overwrite, began)

    def work() -> Json:
        rows = _read_rows(prepared, about, density, samples, config)
        _write(job, name or "the model", density, rows, config)
        return {
            "inputs": {"prepared": about["job_key"], "samples": config.samples or AUTO},
            "model": {"fingerprint": fingerprint(density)},
            "config": config.model_dump(mode="json"),
            "files": [
                manifest.file_entry(job.path, file, 0) for file in (FIDELITY, PAGE)
            ],
        }

    return job.run(work, FidelityResult)


def _read_rows(
    prepared: str,
    about: Json,
    density: TableDensity,
    samples: Dataset | None,
    config: FidelityConfig,
) -> Tables:
    """Read the compared rows, or sample the synthetic ones if there is no dataset."""
    train, held_out = (
        tables.sample_split(prepared, about, split, density.columns, config.rows)
        for split in ("train", "test")
    )
    if samples is None:
        drawn = Sampler(density).sample(len(train), seed=config.seed)
        return Tables(train, held_out, drawn.select(density.columns))
    synthetic = tables.sample_dataset(samples, density.columns, config.rows)
    return Tables(train, held_out, synthetic)


def _write(
    job: Job, name: str, density: TableDensity, rows: Tables, config: FidelityConfig
) -> None:
    """Write fidelity.json and fidelity.html to the job's directory."""
    result = measure(rows, density, config)
    storage.write_json(storage.join(job.path, FIDELITY), result)
    html = page.render(job.key, name, density, (rows.held_out, rows.synthetic), result)
    pages.write(storage.join(job.path, PAGE), html)


def measure(rows: Tables, density: TableDensity, config: FidelityConfig) -> Json:
    """Compute all measures of synthetic rows, the content of fidelity.json.

    Args:
        rows: The compared tables.
        density: The model that the synthetic rows come from.
        config: The target of downstream predictions and the confidence.
    """
    (train, held_out, synthetic), parts = flatten_lists(
        (rows.train, rows.held_out, rows.synthetic), density.encoder
    )
    flat = Tables(train, held_out, synthetic)
    measures = compare(flat, config.target)
    support = compare_support(
        rows, density.columns, density.encoder.out_of_support(rows.synthetic)
    )
    logger.info("fidelity: measured %d synthetic rows", len(rows.synthetic))
    return {
        "rows": {
            "train": len(rows.train),
            "held_out": len(rows.held_out),
            "synthetic": len(rows.synthetic),
        },
        "target": config.target,
        "summaries": parts,
        **measures,
        "support": support,
        "log_prob": compare_log_prob(rows, density, config.confidence),
    }


def compare(rows: Tables, target: str | None = None) -> Json:
    """Compute the measures of synthetic rows that need no model."""
    test = TwoSampleTest.fit(rows.held_out, rows.synthetic)
    return {
        **compare_marginals(rows),
        "two_sample_auc": {
            "synthetic": test.auc,
            "train": TwoSampleTest.fit(rows.held_out, rows.train).auc,
            "columns": [asdict(column) for column in test.importances()],
        },
        "plausibility": compare_plausibility(rows),
        "downstream": compare_downstream(rows, target) if target else None,
        "closest": compare_closest(rows),
    }


def compare_log_prob(rows: Tables, density: TableDensity, confidence: float) -> Json:
    """Compare the mean log-probabilities of synthetic and held-out rows, in nats.

    For rows that a well calibrated model sampled itself the means agree.
    """
    held_out, synthetic = (
        density.log_prob(table.slice(0, SCORED_ROWS))
        for table in (rows.held_out, rows.synthetic)
    )
    return {
        "synthetic": float(synthetic.mean()),
        "synthetic_interval": list(bootstrap_interval(synthetic, confidence)),
        "held_out": float(held_out.mean()),
        "held_out_interval": list(bootstrap_interval(held_out, confidence)),
        "gap": float(synthetic.mean() - held_out.mean()),
    }


def metrics(found: Json) -> dict[str, float]:
    """Return the main measures, the content of fidelity.json, as MLflow metrics."""
    implausible = found["plausibility"]
    shown = {
        "samples/univariate_accuracy": found["univariate"]["synthetic"],
        "samples/bivariate_accuracy": found["bivariate"]["synthetic"],
        "samples/two_sample_auc": found["two_sample_auc"]["synthetic"],
        "samples/closest_record_share": found["closest"]["share"],
        "samples/wrong_rows": found["support"]["wrong_rows"],
        "samples/implausible_rows": implausible["rows"]["synthetic"],
        "samples/wrong_combinations": implausible["combinations"]["synthetic"],
        "samples/log_prob_gap": found["log_prob"]["gap"],
    }
    if found["downstream"]:
        measure = found["downstream"]["measure"]
        shown[f"samples/downstream_{measure}"] = found["downstream"]["synthetic"]
    return shown
