"""Drift detection: new rows compared with the calibration rows of a model.

Compared are the log-probability of rows, the marginal distribution of each column and
the conditional distribution of each column given those before it: the latter by its
probability integral transform, whose distribution changes where the relation of the
column to the others does.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ar_models.tables.encoder import TableEncoder
from tasks.config.monitor import MonitorConfig
from tasks.config.resources import Resources
from tasks.data.datasets import Dataset
from tasks.data.fragments import Fragment, iter_tables
from tasks.evaluation import held_out
from tasks.inference.source import Source, UnreadableFile, unreadable_files
from tasks.monitoring import drift_page, drift_report, reference
from tasks.monitoring.histograms import Histogram
from tasks.monitoring.reference import Reference
from tasks.reports import pages
from tasks.runtime import model_store, parts, storage
from tasks.runtime.job import Job, JobResult

FORMAT = 4
"""Version of the results, part of the job key."""

COUNTS = "counts"
"""Directory, within the results, of the histograms of each fragment."""

RESULT, PAGE = "drift.json", "drift.html"

Json = dict[str, Any]  # JSON values


@dataclass(frozen=True, kw_only=True)
class MonitorResult(JobResult):
    """The outcome of drift detection.

    Attributes:
        page: Path of the page.
        verdict: `unclear` if there are too few rows.
        reasons: The effect sizes that exceed a limit, or why the verdict is unclear.
        remedy: Advice if there is drift.
        caution: Which changes could not be detected, since there are few rows.
        metrics: The effect sizes by MLflow's names.
        rows_in: Rows of the dataset.
        rows_out: Rows that were counted.
        rows_quarantined: Rows of unreadable fragments.
        bad_files: Files that were set aside.
        rows_per_s: Rows per second of the call that finished the job.
    """

    page: str
    verdict: Literal["drift", "stable", "unclear"]
    reasons: list[str]
    remedy: str | None
    caution: str | None
    metrics: dict[str, float]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    bad_files: list[UnreadableFile]
    rows_per_s: float

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        result = storage.read_json(storage.join(path, RESULT))
        names = ("verdict", "reasons", "remedy", "caution", "metrics")
        return {
            "page": storage.join(path, PAGE),
            **{name: result[name] for name in names},
        }


def monitor(
    model: str,
    source: Source,
    output: str,
    config: MonitorConfig,
    resources: Resources,
    *,
    model_info: Json | None = None,
    overwrite: bool = False,
) -> MonitorResult:
    """Detect drift of a dataset from the calibration rows of a model.

    Writes drift.json and drift.html.

    Args:
        model: Directory of a saved density with a reference, local or S3.
        source: The dataset of new rows.
        output: Directory for the results, as for `Job`.
        config: Limits and intervals; its `input` and `output` are ignored.
        resources: Where the job runs.
        model_info: What the results record about the model: name, version, run id.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        FileNotFoundError: There is no such model or dataset, or no reference.
        ValueError: The model cannot read the dataset.
    """
    began = time.monotonic()
    density, known = model_store.load(model), reference.read(model)
    dataset = source.open(config.rows_per_fragment, density.encoder)
    model_store.check_readable(density, source.path, dataset.schema)
    check_ignored(density.encoder, config)
    model_info = model_store.describe(density, model_info)
    about = {"input": source.path, "model": model_info}
    depends_on = {
        "format": FORMAT,
        "model": model_info["fingerprint"],
        "reference": storage.checksum(storage.join(model, reference.FILE)),
        "data": dataset.fingerprint,
        "config": config.model_dump(mode="json", exclude={"input", "output"}),
    }
    job = Job("monitor", output, depends_on, overwrite, began, dataset.sources)

    def work() -> Json:
        make = partial(FragmentCounter, model, source, job.path, job.key)
        units = dataset.fragments
        completed = job.complete_parts(make, units, resources, subdirectory=COUNTS)
        batch = merge_parts(known, job.path, len(units))
        drift = drift_report.summarize(density.encoder, known, batch, config)
        page = drift_page.render(job.key, about | drift, known, batch)
        files = pages.publish(job.path, RESULT, about | drift, PAGE, page)
        return {
            **_describe(job, dataset, completed),
            **depends_on,
            **about,
            **{name: drift[name] for name in ("verdict", "reasons")},
            "files": [*completed.files(COUNTS), *files],
        }

    return job.run(work, MonitorResult)


def _describe(job: Job, dataset: Dataset, completed: parts.CompletedParts) -> Json:
    """Return what the manifest says about the rows that were read."""
    totals = ("rows_in", "rows_out", "rows_quarantined")
    return {
        **{name: completed.total(name) for name in totals},
        "bad_files": unreadable_files(dataset),
        "rows_per_s": job.rows_per_s(completed.new_rows),
    }


def check_ignored(encoder: TableEncoder, config: MonitorConfig) -> None:
    """Raise ValueError if a column under monitor.ignore is not modelled."""
    for column in config.ignore:
        if column not in encoder.names:
            raise ValueError(
                f"monitor.ignore: the model has no column {column!r}; columns: "
                f"{encoder.names!r}"
            )


class FragmentCounter:
    """Function that counts fragments in bins; each process loads the model once.

    Args:
        model: Directory of the model.
        source: The dataset.
        folder: Directory of the results.
        key: The job key.
    """

    def __init__(self, model: str, source: Source, folder: str, key: str) -> None:
        self.density = model_store.load(model)
        self.reference = reference.read(model)
        self.source, self.key = source, key
        self.folder = storage.join(folder, COUNTS)

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write the histograms of a fragment; return the metadata."""
        rng = np.random.default_rng([1, fragment.index])
        histograms = reference.empty(self.reference)
        rows = 0
        try:
            for table in iter_tables(fragment, reference.EXACT, self.density.columns):
                counted = reference.count(self.density, self.reference, table, rng)
                histograms = reference.add(histograms, counted)
                rows += table.num_rows
        except pa.ArrowInvalid as error:
            self.source.check_bad_file(error)
            histograms, rows = reference.empty(self.reference), 0
        metadata = {
            **parts.bound(fragment, self.key),
            "source": fragment.name,
            "rows_in": fragment.rows,
            "rows_out": rows,
            "rows_quarantined": fragment.rows - rows,
        }
        table = pa.table(
            {
                "count": np.concatenate([h.counts for h in histograms]),
                "sum": np.concatenate([h.sums for h in histograms]),
            }
        )
        name = parts.file_name(fragment.index)
        entry = parts.write(self.folder, name, table, metadata)
        return {**metadata, "files": [entry]}


def merge_parts(known: Reference, folder: str, count: int) -> Sequence[Histogram]:
    """Add up the histograms of all fragments, one after the other.

    Args:
        known: The reference, which knows the bins.
        folder: Directory of the results.
        count: Number of parts.
    """
    paths = (storage.join(folder, COUNTS, parts.file_name(k)) for k in range(count))
    tables = map(held_out.read, paths)
    ends = np.cumsum([scale.size for scale in known.all_scales])[:-1]
    counts, sums = reduce(
        lambda total, part: (total[0] + part[0], total[1] + part[1]),
        ((t["count"].to_numpy(), t["sum"].to_numpy()) for t in tables),
    )
    return [
        Histogram(c, s)
        for c, s in zip(np.split(counts, ends), np.split(sums, ends), strict=True)
    ]
