"""Drift detection: new rows compared with the calibration rows of a model.

Compared are the log-probability of rows, the marginal distribution of each column and
the conditional distribution of each column given those before it: the latter by its
probability integral transform, whose distribution changes where the relation of the
column to the others does.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from tasks.monitoring import drift_page, drift_report, periods, reference
from tasks.monitoring.histograms import Histogram
from tasks.monitoring.reference import Reference
from tasks.reports import pages
from tasks.runtime import model_store, parts, storage
from tasks.runtime.job import Job, JobResult

FORMAT = 5
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
        periods: What was found in each period, see `periods.summarize`; empty if the
            rows are not divided.
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
    periods: list[dict[str, Any]] = field(default_factory=list)  # JSON values
    rows_in: int
    rows_out: int
    rows_quarantined: int
    bad_files: list[UnreadableFile]
    rows_per_s: float

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        result = storage.read_json(storage.join(path, RESULT))
        names = ("verdict", "reasons", "remedy", "caution", "metrics", "periods")
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
    division = periods.division(density.encoder, dataset.schema, config)
    model_info = model_store.describe(density, model_info)
    about = {"input": source.path, "model": model_info}
    depends_on = {
        "format": FORMAT,
        "model": model_info["fingerprint"],
        "reference": storage.checksum(storage.join(model, reference.FILE)),
        "data": dataset.fingerprint,
        "config": config.model_dump(mode="json", exclude={"input", "output"}),
    }
    job = Job("monitor", output, depends_on, overwrite, began, dataset, (COUNTS,))

    def work() -> Json:
        make = partial(FragmentCounter, model, source, job.path, job.key, division)
        units = dataset.fragments
        completed = job.complete_parts(make, units, resources, subdirectory=COUNTS)
        drift, files = _publish(job, density.encoder, known, about, completed, config)
        return {
            **_describe(job, dataset, completed),
            **depends_on,
            **about,
            **{name: drift[name] for name in ("verdict", "reasons")},
            "files": [*completed.files(COUNTS), *files],
        }

    return job.run(work, MonitorResult)


def _publish(
    job: Job,
    encoder: TableEncoder,
    known: Reference,
    about: Json,
    completed: parts.CompletedParts,
    config: MonitorConfig,
) -> tuple[Json, list[Json]]:
    """Write drift.json and the page; return the former and the entries of both files.

    Args:
        job: The job.
        encoder: The model's encoder.
        known: The reference of the model.
        about: What both say about input and model.
        completed: The histograms of all fragments.
        config: Limits and intervals.
    """
    batches = merge_parts(known, job.path, len(completed.metadata))
    batch = reduce(reference.add, batches.values(), reference.empty(known))
    drift = drift_report.summarize(encoder, known, batch, config)
    if config.by is not None:
        new: dict[str, periods.NewCategories] = {}
        for part in completed.metadata:
            for name, found in part["new_categories"].items():
                new[name] = periods.add_categories(new.get(name, {}), found)
        drift["periods"] = periods.summarize(encoder, known, batches, new, config)
    page = drift_page.render(job.key, about | drift, known, batch)
    return drift, pages.publish(job.path, RESULT, about | drift, PAGE, page)


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
        division: Period that the rows are divided into and column that divides them.
    """

    def __init__(
        self,
        model: str,
        source: Source,
        folder: str,
        key: str,
        division: periods.Division | None,
    ) -> None:
        self.division = division
        self.density = model_store.load(model)
        self.reference = reference.read(model)
        self.source, self.key = source, key
        self.folder = storage.join(folder, COUNTS)

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write the histograms of a fragment; return the metadata."""
        rng = np.random.default_rng([1, fragment.index])
        batches: dict[str, list[Histogram]] = {}
        new: dict[str, periods.NewCategories] = {}
        rows = 0
        wanted = set(self.density.columns)
        if self.division is not None:
            wanted.add(self.division.time)
        try:
            for table in iter_tables(fragment, reference.EXACT, wanted):
                for name, part in self.divide(table):
                    counted = reference.count(self.density, self.reference, part, rng)
                    known = batches.get(name) or reference.empty(self.reference)
                    batches[name] = reference.add(known, counted)
                    if self.division is not None:
                        found = periods.new_categories(self.density.encoder, part)
                        new[name] = periods.add_categories(new.get(name, {}), found)
                rows += table.num_rows
        except pa.ArrowInvalid as error:
            self.source.check_bad_file(error)
            batches, new, rows = {}, {}, 0
        metadata = {
            **parts.bound(fragment, self.key),
            "source": fragment.name,
            "rows_in": fragment.rows,
            "rows_out": rows,
            "rows_quarantined": fragment.rows - rows,
            "new_categories": new,
        }
        name = parts.file_name(fragment.index)
        entry = parts.write(self.folder, name, counts_table(batches), metadata)
        return {**metadata, "files": [entry]}

    def divide(self, table: pa.Table) -> Iterable[tuple[str, pa.Table]]:
        """Return the rows of each period, all under one name without periods."""
        if self.division is None:
            return [("", table)]
        return periods.divide(self.density.encoder, table, self.division)


def counts_table(batches: Mapping[str, Sequence[Histogram]]) -> pa.Table:
    """Return the histograms of each period as a table of counts and sums."""
    tables = [
        pa.table(
            {
                "period": pa.array([name] * sum(len(h.counts) for h in histograms)),
                "count": np.concatenate([h.counts for h in histograms]),
                "sum": np.concatenate([h.sums for h in histograms]),
            }
        )
        for name, histograms in batches.items()
    ]
    fields = [("period", pa.string()), ("count", pa.int64()), ("sum", pa.float64())]
    return pa.concat_tables([pa.schema(fields).empty_table(), *tables])


def merge_parts(
    known: Reference, folder: str, count: int
) -> dict[str, list[Histogram]]:
    """Add up the histograms of all fragments, one after the other.

    Args:
        known: The reference, which knows the bins.
        folder: Directory of the results.
        count: Number of parts.

    Returns:
        The histograms by period.
    """
    ends = np.cumsum([scale.size for scale in known.all_scales])
    batches: dict[str, list[Histogram]] = {}
    for k in range(count):
        table = held_out.read(storage.join(folder, COUNTS, parts.file_name(k)))
        for first in range(0, table.num_rows, int(ends[-1])):
            rows = table.slice(first, int(ends[-1]))
            name = rows["period"][0].as_py()
            pairs = (np.split(rows[n].to_numpy(), ends[:-1]) for n in ("count", "sum"))
            found = [Histogram(c, s) for c, s in zip(*pairs, strict=True)]
            other = batches.get(name)
            batches[name] = found if other is None else reference.add(other, found)
    return batches
