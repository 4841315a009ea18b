"""Synthetic rows drawn from a model, shard by shard, or completions of given rows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.given import check_modelled, rows_in_order
from ar_models.density.sampler import LOG_PROB_COLUMN, SampleOptions, Sampler
from ar_models.density.table_density import TableDensity
from ar_models.scoring.completions import Effectiveness
from ar_models.tables.frequent_codes import count_few
from ar_models.tables.key_columns import with_new_keys
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.data.datasets import Dataset, open_dataset
from tasks.data.fragments import Fragment, read_fragment
from tasks.data.schema import check_columns, key_types
from tasks.runtime import model_store, parts
from tasks.runtime.job import Job, JobResult

FORMAT = 3
"""Version of the output, in the job key; raised when the same job gives other rows."""

FEW_ROWS = 5
"""Number of training rows below which a category is called rare in the summary."""


@dataclass(frozen=True)
class Shard:
    """Rows that are drawn from one random stream and become one part.

    Attributes:
        index: Number of the random stream and of the part.
        rows: Number of rows to draw.
        given: Rows that the shard completes; None to draw unconditionally.
        first: Number of rows of the shards before it.
        total: Number of rows of all shards.
    """

    index: int
    rows: int
    given: Fragment | None = None
    first: int = 0
    total: int = 0

    @property
    def content(self) -> str:
        """Hash of the content of the given rows' file; empty if there is none."""
        return self.given.content if self.given else ""


@dataclass(frozen=True, kw_only=True)
class SampleResult(JobResult):
    """The outcome of a sampling job.

    Attributes:
        rows_out: Rows drawn.
        rows_per_s: Rows per second of the call that finished the job.
        weighted: Rows that were completed by weighted draws.
        few_effective: Those with few effective draws, whose values are less exact.
        rare_cells: Number of cells by column whose category occurs in fewer than
            `FEW_ROWS` training rows, where there are any.
        fewest_rows: Least number of training rows of a category that was drawn; None
            if there are no categories.
        new_keys: Form of the new values of columns that are not modelled, such as a
            regular expression, by column.
    """

    rows_out: int
    rows_per_s: float
    weighted: int = 0
    few_effective: int = 0
    rare_cells: dict[str, int] = field(default_factory=dict)
    fewest_rows: int | None = None
    new_keys: dict[str, str] = field(default_factory=dict)


def sample(
    model: str,
    output: str,
    config: SampleConfig,
    resources: Resources,
    *,
    model_info: Mapping[str, Any] | None = None,  # JSON-able
    overwrite: bool = False,
) -> SampleResult:
    """Draw rows with the original columns; each shard becomes exactly one part.

    A shard is a pure function of model, seed, shard number and settings: it has the
    same bytes wherever and however often it is drawn on CPUs; on GPUs the last digits
    differ.

    With `config.given`, a shard completes a fragment of that dataset: each of its rows
    `samples_per_row` times, one after the other. Given cells and columns that are not
    modelled are copied. A null is drawn, except in the columns of
    `config.null_is_missing`, where it means that the value is missing.

    Args:
        model: Directory of a saved `TableDensity`, local or S3.
        output: Directory for the results, as for `Job`.
        config: Number of rows and how to draw them; its `output` is ignored.
        resources: Where the job runs.
        model_info: What the manifest says about the model: name, version, run id.
        overwrite: Whether the results of another job may be replaced.

    Raises:
        ValueError: The model cannot condition on the given columns.
        FileExistsError: The directory holds other results.
    """
    began = time.monotonic()
    density = model_store.load(model)
    about = model_store.describe(density, model_info)
    shards, identity = plan_shards(density, config)
    identity["config"] = settings_of(config)
    depends_on = {"format": FORMAT, "model": about["fingerprint"], **identity}
    job = Job("sample", output, depends_on, overwrite, began, units=shards)

    def work() -> dict[str, Any]:
        make = partial(ShardSampler, model, job.path, config, job.key)
        completed = job.complete_parts(make, shards, resources)
        return {
            **({"input": config.given} if config.given else {}),
            **identity,
            "model": about,
            **totals(completed),
            "new_keys": {
                key.name: key.describe(config.new_keys) for key in density.encoder.keys
            },
            "rows_per_s": job.rows_per_s(completed.new_rows),
        }

    return job.run(work, SampleResult)


def totals(completed: parts.CompletedParts) -> dict[str, Any]:
    """Return what the manifest says about all shards together."""
    fewest = [part["fewest_rows"] for part in completed.metadata]
    return {
        **{n: completed.total(n) for n in ("rows_out", "weighted", "few_effective")},
        "rare_cells": completed.counts("rare_cells"),
        "fewest_rows": min((n for n in fewest if n is not None), default=None),
        "files": completed.files(),
    }


def settings_of(config: SampleConfig) -> dict[str, Any]:
    """Return the settings that determine the rows, apart from the given ones."""
    irrelevant = {"output", "given", *(("rows",) if config.given else ())}
    return config.model_dump(exclude=irrelevant)


def plan_shards(
    density: TableDensity, config: SampleConfig
) -> tuple[list[Shard], dict[str, Any]]:
    """Return the shards of a job, and the fingerprint of the given rows as `data`.

    Raises:
        ValueError: The model cannot condition on the given columns.
    """
    if config.given is None:
        return divide(config.rows, config.rows_per_shard), {}
    dataset = open_given(density, config.given, config)
    shards = [
        Shard(fragment.index, fragment.rows * config.samples_per_row, fragment)
        for fragment in dataset.fragments
    ]
    return placed(shards), {"data": dataset.fingerprint}


def divide(rows: int, rows_per_shard: int) -> list[Shard]:
    """Return shards of `rows_per_shard` rows; the last one holds the remainder."""
    sizes = (min(rows_per_shard, rows - k) for k in range(0, rows, rows_per_shard))
    return placed([Shard(index, size) for index, size in enumerate(sizes)])


def placed(shards: Sequence[Shard]) -> list[Shard]:
    """Return shards that know their place among the rows of the job."""
    ends = list(accumulate(shard.rows for shard in shards))
    return [
        replace(shard, first=end - shard.rows, total=ends[-1])
        for shard, end in zip(shards, ends, strict=True)
    ]


def open_given(density: TableDensity, path: str, config: SampleConfig) -> Dataset:
    """Open the dataset of given rows, with one fragment for each shard.

    Args:
        density: The model that completes the rows.
        path: The dataset.
        config: Size of the shards, and how the rows are completed.

    Raises:
        ValueError: It has no modelled column, or one that the model cannot condition
            on, or a column with the name of an output column.
    """
    rows_per_fragment = max(1, config.rows_per_shard // config.samples_per_row)
    dataset = open_dataset(
        path, rows_per_fragment=rows_per_fragment, trained=key_types(density.encoder)
    )
    names = dataset.schema.names
    missing = config.null_is_missing
    check_columns(dataset.schema, {"sample.null_is_missing": missing})
    check_modelled(density.encoder, missing)
    known = [name for name in density.columns if name in names]
    if not known:
        raise ValueError(
            f"{path}: has none of the modelled columns ({', '.join(density.columns)}); "
            "omit --given to draw rows without conditions"
        )
    if config.log_prob and LOG_PROB_COLUMN in names:
        raise ValueError(
            f"{path}: column {LOG_PROB_COLUMN!r} has the name of a column of the "
            "output; rename it, or set sample.log_prob to false"
        )
    try:
        density.encoder.check_some(dataset.schema, known)
        given = {name: np.ones(1, bool) for name in known}
        rows_in_order(density.model, density.columns, given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return dataset


class ShardSampler:
    """Function that draws shards; each Ray actor makes one and loads the model.

    Args:
        model: Directory of a saved `TableDensity`.
        output: Directory of the parts.
        config: The seed, and how rows are drawn.
        key: The job key.
    """

    def __init__(self, model: str, output: str, config: SampleConfig, key: str) -> None:
        density = model_store.load(model)
        names = {field.name for field in fields(SampleOptions)}
        options = SampleOptions(**config.model_dump(include=names))
        self.sampler, self.encoder = Sampler(density, options), density.encoder
        self.output = output
        self.config = config
        self.key = key
        # Nothing here may depend on where the model came from: version numbers differ
        # between registries, and a shard is to be the same bytes everywhere.
        self.common = {
            "model": model_store.fingerprint(density),
            "seed": config.seed,
        }

    def __call__(self, shard: Shard) -> parts.PartMetadata:
        """Write the part of a shard and return its metadata."""
        metadata = {
            **parts.bound(shard, self.key),
            **self.common,
            "shard": shard.index,
        }
        if shard.given is not None:
            metadata["source"] = shard.given.name
            metadata["first_row"] = shard.given.first
        self.sampler.effectiveness = counts = Effectiveness()
        table = self.draw(shard)
        metadata["rows_out"] = table.num_rows
        metadata |= {"weighted": counts.weighted, "few_effective": counts.few}
        few, fewest = count_few(self.encoder, table, FEW_ROWS)
        metadata |= {"rare_cells": few, "fewest_rows": fewest}
        entry = parts.write(self.output, parts.file_name(shard.index), table, metadata)
        return {**metadata, "files": [entry]}

    def draw(self, shard: Shard) -> pa.Table:
        """Return the rows of a shard."""
        config = self.config
        given = None
        if shard.given is not None:
            given = repeat_rows(read_fragment(shard.given), config.samples_per_row)
        try:
            drawn = self.sampler.sample(
                shard.rows,
                seed=config.seed,
                stream=shard.index,
                given=given,
                missing=config.null_is_missing,
            )
        except ValueError as error:
            if shard.given is None:
                raise
            where = f"{shard.given.path}, rows from {shard.given.first} on"
            raise ValueError(f"{where}: {error}") from error
        keys, first, total = self.encoder.keys, shard.first, shard.total
        style, seed = config.new_keys, config.seed
        return with_new_keys(drawn, keys, style, first, total, seed)


def repeat_rows(rows: pa.Table, times: int) -> pa.Table:
    """Return a table with each row `times` times, one after the other."""
    if times == 1:
        return rows
    return rows.take(pa.array(np.repeat(np.arange(rows.num_rows), times)))
