"""Imputation of the missing cells of a dataset, fragment by fragment."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from ar_models.density.imputer import DETAILS_COLUMN, ImputeOptions, Imputer
from ar_models.density.table_density import TableDensity
from ar_models.scoring.completions import Effectiveness
from tasks.config.impute import ImputeConfig
from tasks.config.resources import Resources
from tasks.data.datasets import Dataset, open_dataset
from tasks.data.fragments import Fragment, read_fragment
from tasks.data.schema import trained_schema
from tasks.runtime import model_store, parts
from tasks.runtime.job import Job, JobResult

IMPUTATION = "imputation"
"""Column with the number of the imputation, where a row has several."""


TOTALS = ("rows_out", "weighted", "few_effective")
"""Counts of the parts that add up to those of the job."""


@dataclass(frozen=True, kw_only=True)
class ImputeResult(JobResult):
    """The outcome of an imputation job.

    Attributes:
        rows_in: Rows of the dataset.
        rows_out: Rows written, one per imputation of each row.
        filled: Number of filled cells by column.
        left: Number of nulls that remain, by column: those that are not modelled, and
            cells of rows whose known cells contradict each other.
        weighted: Rows that were completed by weighted draws.
        few_effective: Those with few effective draws, whose values are less exact.
        rows_per_s: Rows per second of the call that finished the job.
    """

    rows_in: int
    rows_out: int
    filled: dict[str, int]
    left: dict[str, int]
    rows_per_s: float
    weighted: int = 0
    few_effective: int = 0


def impute(
    model: str,
    source: str,
    output: str,
    config: ImputeConfig,
    resources: Resources,
    *,
    model_info: Mapping[str, Any] | None = None,  # JSON-able
    overwrite: bool = False,
) -> ImputeResult:
    """Fill the nulls of a dataset; each fragment becomes exactly one part.

    Part k holds all rows and columns of fragment k, in input order, with the nulls of
    the modelled columns filled; every other cell is unchanged. Several
    imputations of a fragment follow one after the other.

    Args:
        model: Directory of a saved `TableDensity`.
        source: The dataset, as for `datasets.open_dataset`.
        output: Directory for the results, as for `Job`.
        config: What is written; its `input` and `output` are ignored.
        resources: Where the job runs.
        model_info: What the manifest says about the model: name, version, run id.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: The family cannot condition on columns, or the model cannot read
            the dataset.
        FileExistsError: The directory holds other results.
    """
    began = time.monotonic()
    density = model_store.load(model)
    dataset = open_checked(density, source, config)
    about = model_store.describe(density, model_info)
    settings = config.model_dump(exclude={"input", "output"})
    depends_on = {
        "model": about["fingerprint"],
        "data": dataset.fingerprint,
        "config": settings,
    }
    job = Job("impute", output, depends_on, overwrite, began, dataset)

    def work() -> dict[str, Any]:
        make = partial(FragmentImputer, model, job.path, config, job.key)
        completed = job.complete_parts(make, dataset.fragments, resources)
        return {
            "input": source,
            "data": dataset.fingerprint,
            "model": about,
            "config": settings,
            "rows_in": dataset.rows,
            **{n: completed.counts(n) for n in ("filled", "left")},
            **{n: completed.total(n) for n in TOTALS},
            "files": completed.files(),
            "rows_per_s": job.rows_per_s(completed.new_rows),
        }

    return job.run(work, ImputeResult)


def open_checked(density: TableDensity, source: str, config: ImputeConfig) -> Dataset:
    """Open the dataset and check that the model can read and impute it.

    Raises:
        ValueError: It cannot, or a column has the name of an output column.
    """
    Imputer(density)
    dataset = open_dataset(
        source,
        rows_per_fragment=config.rows_per_fragment,
        trained=trained_schema(density.encoder),
    )
    model_store.check_readable(density, source, dataset.schema)
    added = {DETAILS_COLUMN: config.details, IMPUTATION: config.imputations > 1}
    for name, is_added in added.items():
        if is_added and name in dataset.schema.names:
            raise ValueError(
                f"{source}: column {name!r} is also the name of an output column; "
                "rename it"
            )
    return dataset


class FragmentImputer:
    """Function that imputes fragments; each Ray actor makes one and loads the model.

    Args:
        model: Directory of a saved `TableDensity`.
        output: Directory of the parts.
        config: What is written.
        key: The job key.
    """

    def __init__(self, model: str, output: str, config: ImputeConfig, key: str) -> None:
        density = model_store.load(model)
        options = ImputeOptions(config.method, config.confidence, config.details)
        self.imputer = Imputer(density, options)
        self.output = output
        self.config = config
        self.key, self.model = key, model_store.fingerprint(density)

    def __call__(self, fragment: Fragment) -> parts.PartMetadata:
        """Write the part of a fragment and return its metadata."""
        table = read_fragment(fragment)
        self.imputer.effectiveness = counts = Effectiveness()
        imputed = self.impute(table, fragment)
        times = self.config.imputations
        before, after = (
            {name: rows[name].null_count for name in table.column_names}
            for rows in (table, imputed)
        )
        filled = {n: count - after[n] // times for n, count in before.items()}
        metadata = {
            **parts.bound(fragment, self.key),
            "model": self.model,
            "source": fragment.name,
            "first_row": fragment.first,
            "rows_in": fragment.rows,
            "rows_out": imputed.num_rows,
            "filled": {name: count for name, count in filled.items() if count},
            "left": {name: count // times for name, count in after.items() if count},
            "weighted": counts.weighted // times,
            "few_effective": counts.few // times,
        }
        name = parts.file_name(fragment.index)
        entry = parts.write(self.output, name, imputed, metadata)
        return {**metadata, "files": [entry]}

    def impute(self, table: pa.Table, fragment: Fragment) -> pa.Table:
        """Return all imputations of a fragment's rows, one after the other."""
        count = self.config.imputations
        imputed = [self.impute_once(table, fragment, k) for k in range(count)]
        if count == 1:
            return imputed[0]
        field = pa.field(IMPUTATION, pa.int32(), nullable=False)
        return pa.concat_tables(
            rows.append_column(field, pa.array([k] * len(rows), pa.int32()))
            for k, rows in enumerate(imputed)
        )

    def impute_once(
        self, table: pa.Table, fragment: Fragment, imputation: int
    ) -> pa.Table:
        """Return imputation number `imputation`, from 0, of a fragment's rows."""
        config = self.config
        try:
            stream = fragment.index * config.imputations + imputation
            return self.imputer.impute(table, seed=config.seed, stream=stream)
        except ValueError as error:
            raise ValueError(f"{fragment.path}: {error}") from error
