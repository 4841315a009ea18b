"""The comparison of two models by the log-probabilities of the same rows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.config.evaluate import EvaluateConfig
from tasks.config.resources import Resources
from tasks.data.datasets import Dataset
from tasks.data.fragments import Fragment, read_fragment
from tasks.evaluation import compare_page, held_out, segments
from tasks.evaluation.comparable import check_same_columns, comparable
from tasks.evaluation.intervals import bootstrap_interval
from tasks.evaluation.metric_names import metric_name
from tasks.inference.source import Source, UnreadableFile, unreadable_files
from tasks.reports import pages
from tasks.runtime import model_store, parts, storage
from tasks.runtime.job import Job, JobResult

FORMAT = 3
"""Version of the results, part of the job key."""

ROWS = "rows"
"""Directory, within the results, of both log-probabilities of each row."""

RESULT, PAGE = "comparison.json", "comparison.html"

USED_KEYS = {"confidence", "resamples", "segments"}
"""Keys of the section `evaluate` that the results depend on."""

FRAGMENT_ROWS = 100_000
"""Maximum number of rows that a process holds at once."""

Json = dict[str, Any]  # JSON values


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(JobResult):
    """The outcome of a comparison of two models.

    Attributes:
        page: Path of the page.
        nll: Mean NLL of each model, nats per row.
        difference: Mean difference of the log-probabilities, nats per row; positive
            where the first model is better.
        difference_interval: Its confidence interval.
        metrics: The main measures by MLflow's names.
        rows_in: Rows of the dataset.
        rows_out: Rows with a finite log-probability under both models.
        rows_quarantined: All other rows.
        bad_files: Files that were set aside.
        rows_per_s: Rows per second of the call that finished the job.
    """

    page: str
    nll: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    metrics: dict[str, float]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    bad_files: list[UnreadableFile]
    rows_per_s: float

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        result = storage.read_json(storage.join(path, RESULT))
        names = ("nll", "difference", "difference_interval")
        return {
            "page": storage.join(path, PAGE),
            "metrics": metrics(result),
            **{name: result[name] for name in names},
        }


def compare(
    models: tuple[str, str],
    source: Source,
    output: str,
    config: EvaluateConfig,
    resources: Resources,
    *,
    infos: tuple[Json, Json] = ({}, {}),
    overwrite: bool = False,
) -> ComparisonResult:
    """Compare the log-probabilities that two models give to the same rows.

    Writes comparison.json, comparison.html and both log-probabilities of each row.

    Args:
        models: Directories of two saved densities, local or S3.
        source: The dataset.
        output: Directory for the results, as for `Job`.
        config: Intervals and segments.
        resources: Where the job runs.
        infos: What the results record about each model: name, version, run id.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: The models differ in their columns, or cannot read the rows.
    """
    began = time.monotonic()
    pair = load_pair(models)
    dataset = open_rows(pair, source)
    segments.check(dataset.schema, config.segments, None)
    described = [model_store.describe(*each) for each in zip(pair, infos, strict=True)]
    about = {"input": source.path, "models": described}
    depends_on = {
        "format": FORMAT,
        "models": [model["fingerprint"] for model in described],
        "data": dataset.fingerprint,
        "config": config.model_dump(mode="json", include=USED_KEYS),
    }
    job = Job("compare", output, depends_on, overwrite, began, dataset, (ROWS,))

    def work() -> Json:
        folder = storage.join(job.path, ROWS)
        make = partial(PairScorer, models, source, folder, config.segments, job.key)
        made = job.complete_parts(make, dataset.fragments, resources, subdirectory=ROWS)
        rows = held_out.read_folder(folder, len(dataset.fragments))
        result = about | summarize(pair[0], made.metadata, rows, config)
        page = compare_page.render(job.key, result)
        files = pages.publish(job.path, RESULT, result, PAGE, page)
        return {
            **depends_on,
            **about,
            "rows_in": made.total("rows_in"),
            "rows_out": len(rows),
            "rows_quarantined": made.total("rows_in") - len(rows),
            "bad_files": unreadable_files(dataset),
            "rows_per_s": job.rows_per_s(made.new_rows),
            "files": [*made.files(ROWS), *files],
        }

    return job.run(work, ComparisonResult)


def load_pair(models: tuple[str, str]) -> tuple[TableDensity, TableDensity]:
    """Load two models and check that they can be compared.

    Raises:
        ValueError: The models differ in their columns.
    """
    pair = model_store.load(models[0]), model_store.load(models[1])
    same = check_same_columns(*pair, names=models)
    if not same.passed:
        raise ValueError(same.remark)
    return pair


def open_rows(pair: tuple[TableDensity, TableDensity], source: Source) -> Dataset:
    """Open the dataset on which two models are compared.

    Raises:
        ValueError: One of the models cannot read the rows.
    """
    dataset = source.open(FRAGMENT_ROWS, pair[0].encoder)
    for density in pair:
        model_store.check_readable(density, source.path, dataset.schema)
    return dataset


class PairScorer:
    """Function that scores fragments with two models; each process loads them once.

    Args:
        models: Directories of the models.
        source: The dataset.
        folder: Directory of the parts.
        columns: Columns whose values are segments.
        key: The job key.
    """

    def __init__(
        self,
        models: tuple[str, str],
        source: Source,
        folder: str,
        columns: tuple[str, ...],
        key: str,
    ) -> None:
        self.views = comparable(*map(model_store.load, models))
        self.source, self.folder = source, folder
        self.columns, self.key = columns, key

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write both log-probabilities of a fragment's rows; return the metadata."""
        first, second = (view.density for view in self.views)
        wanted = {*first.columns, *self.columns}
        try:
            table = read_fragment(fragment, wanted)
        except pa.ArrowInvalid as error:
            self.source.check_bad_file(error)
            table = fragment.schema.empty_table().select(sorted(wanted))
        # The columns may stand in another order in the second model.
        order = [second.columns.index(name) for name in first.columns]
        mine, theirs = (
            np.concatenate(
                [view.column_log_prob(*part) for part in view.density.batches(table)]
            )
            for view in self.views
        )
        theirs = theirs[:, order]
        finite = np.isfinite(mine.sum(axis=1)) & np.isfinite(theirs.sum(axis=1))
        mine, theirs, table = mine[finite], theirs[finite], table.filter(finite)
        metadata = {
            **parts.bound(fragment, self.key),
            "rows_in": fragment.rows,
            "columns": (mine - theirs).sum(axis=0).tolist(),
        }
        carried = segments.carry(table, self.columns, None)
        part = pa.table(
            {"first": mine.sum(axis=1), "second": theirs.sum(axis=1), **carried}
        )
        name = parts.file_name(fragment.index)
        entry = parts.write(self.folder, name, part, metadata)
        return {**metadata, "files": [entry]}


def summarize(
    first: TableDensity,
    metadata: Sequence[parts.PartMetadata],
    rows: pa.Table,
    config: EvaluateConfig,
) -> Json:
    """Return the content of comparison.json except for names; nats per row.

    Args:
        first: The first model.
        metadata: Metadata of the parts, with sums of differences by column.
        rows: Both log-probabilities and the segments of all rows.
        config: Intervals and segments.

    Raises:
        ValueError: No row has a finite log-probability under both models.
    """
    if not len(rows):
        raise ValueError("no row has a finite log-probability under both models")
    sums = np.sum([part["columns"] for part in metadata], axis=0)
    return {
        "rows": len(rows),
        "confidence": config.confidence,
        **_paired(rows, np.arange(len(rows)), config),
        "columns": [
            {"name": name, "difference": float(total / len(rows))}
            for name, total in zip(first.columns, sums, strict=True)
        ],
        "segments": [
            {
                "column": column,
                "values": [
                    {"value": value, "rows": len(own), **_paired(rows, own, config)}
                    for value, own in segments.split(rows, column)
                ],
            }
            for column in config.segments
        ],
    }


def _paired(rows: pa.Table, which: np.ndarray, config: EvaluateConfig) -> Json:
    """Return the mean NLLs of some rows and their paired difference."""
    first = rows["first"].to_numpy()[which]
    second = rows["second"].to_numpy()[which]
    return {
        "nll": [float(-first.mean()), float(-second.mean())],
        "difference": float((first - second).mean()),
        "difference_interval": bootstrap_interval(
            first - second, config.confidence, config.resamples
        ),
    }


def metrics(result: Json) -> dict[str, float]:
    """Return the main measures, the content of comparison.json, as MLflow metrics."""
    low, high = result["difference_interval"]
    found = {
        "compare/difference": result["difference"],
        "compare/difference_low": low,
        "compare/difference_high": high,
    }
    for segmented in result["segments"]:
        for segment in segmented["values"]:
            name = metric_name(
                "compare", "segment_difference", segmented["column"], segment["value"]
            )
            found[name] = segment["difference"]
    return found
