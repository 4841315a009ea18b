"""Features of every row of a dataset, as input for other models."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.config.embed import EmbedConfig
from tasks.config.resources import Resources
from tasks.data.fragments import Fragment, read_fragment
from tasks.inference.quarantine import (
    QUARANTINE_COLUMNS,
    quarantine_table,
    unreadable_rows,
    write_part,
)
from tasks.inference.source import (
    Source,
    UnreadableFile,
    carried_columns,
    unreadable_files,
)
from tasks.runtime import model_store, parts
from tasks.runtime.job import Job, JobResult

FEATURES = "features"
"""Column of the features: a fixed-size list of 32-bit floats."""


@dataclass(frozen=True, kw_only=True)
class EmbedResult(JobResult):
    """The outcome of an embedding job.

    Attributes:
        features: Number of features of a row.
        rows_in: Rows of the dataset.
        rows_out: Rows whose features were written.
        rows_quarantined: Rows that could not be read or embedded.
        bad_files: Files that were set aside; their rows are not counted.
        rows_per_s: Rows per second of the call that finished the job.
    """

    features: int
    rows_in: int
    rows_out: int
    rows_quarantined: int
    bad_files: list[UnreadableFile]
    rows_per_s: float


def embed(
    model: str,
    source: Source,
    output: str,
    config: EmbedConfig,
    resources: Resources,
    *,
    model_info: Mapping[str, Any] | None = None,  # JSON-able
    overwrite: bool = False,
) -> EmbedResult:
    """Write the features of every row of a dataset; each fragment becomes one part.

    Part k holds, in input order, the id and partition columns of fragment k and the
    column `features`. Rows whose features are not finite are in `quarantine/`.

    Args:
        model: Directory of a saved `TableDensity`, local or S3.
        source: The dataset.
        output: Directory for the results, as for `Job`.
        config: Rows of a fragment; its `input` and `output` are ignored.
        resources: Where the job runs.
        model_info: What the manifest says about the model: name, version, run id.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: The model cannot read the dataset, or a column is not as configured.
        FileExistsError: The directory holds other results.
    """
    began = time.monotonic()
    density = model_store.load(model)
    dataset = source.open(config.rows_per_fragment, density.encoder)
    taken = (FEATURES, *QUARANTINE_COLUMNS)
    carried = carried_columns(density, source, dataset, taken)
    about = model_store.describe(density, model_info)
    identity = {
        "model": about["fingerprint"],
        "data": dataset.fingerprint,
        "config": config.model_dump(exclude={"input", "output", "passthrough"}),
    }
    depends_on = {**identity, "carried": carried}
    job = Job("embed", output, depends_on, overwrite, began, dataset)

    def work() -> dict[str, Any]:
        make = partial(Embedder, model, source, job.path, carried, about, job.key)
        completed = job.complete_parts(make, dataset.fragments, resources)
        counts = ("rows_in", "rows_out", "rows_quarantined")
        return {
            "input": source.path,
            **identity,
            "model": about,
            "features": max(part["features"] for part in completed.metadata),
            **{name: completed.total(name) for name in counts},
            "bad_files": unreadable_files(dataset),
            "files": completed.files(),
            "rows_per_s": job.rows_per_s(completed.new_rows),
        }

    return job.run(work, EmbedResult)


class Embedder:
    """Function that embeds fragments; each Ray actor makes one and loads the model.

    Args:
        model: Directory of a saved `TableDensity`.
        source: The dataset.
        output: Directory of the parts.
        carried: Columns that are copied from the input.
        about: What is noted about the model, JSON-able.
        key: The job key.
    """

    def __init__(
        self,
        model: str,
        source: Source,
        output: str,
        carried: tuple[str, ...],
        about: dict[str, Any],  # JSON-able
        key: str,
    ) -> None:
        self.density = model_store.load(model)
        self.source = source
        self.output = output
        self.carried = list(carried)
        self.common = {"job_key": key, "model": about}

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write the part of a fragment and its quarantine; return the metadata."""
        try:
            table = read_fragment(
                fragment, {*self.density.encoder.names, *self.carried}
            )
        except pa.ArrowInvalid as error:
            self.source.check_bad_file(error)
            table = fragment.schema.empty_table()
            features = self.density.features(table)
            bad = unreadable_rows(fragment, self.carried, str(error))
        else:
            features = self.density.features(table)
            finite = np.isfinite(features).all(axis=1)
            rows = np.flatnonzero(~finite)
            others = table.select(self.carried).filter(pa.array(~finite))
            reasons = ["the features are not finite numbers"] * len(rows)
            bad = quarantine_table(fragment, others, rows, reasons)
            table, features = table.filter(pa.array(finite)), features[finite]
        width = features.shape[1]
        values = pa.array(np.ascontiguousarray(features).reshape(-1), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(values, width)
        return write_part(
            self.output,
            fragment,
            table.select(self.carried),
            pa.table({FEATURES: column}),
            bad,
            self.common,
            features=width,
        )
