"""Synthetic rows, shard by shard, or completions of given rows."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density import LOG_PROB, TableDensity, check_given, check_modelled
from tasks import datasets, manifest, parts
from tasks.config import Resources, SampleConfig
from tasks.datasets import Dataset, Fragment
from tasks.models import fingerprint, load

FORMAT = 2
"""Enters the job key; raised when the same job would give other rows."""


@dataclass(frozen=True)
class Shard:
    """So many rows from the random stream number `index`.

    Attributes:
        index: Number of the stream and of the part.
        rows: How many.
        given: The given rows that it completes, if there are any.
    """

    index: int
    rows: int
    given: Fragment | None = None


def sample(
    model: str,
    output: str,
    config: SampleConfig,
    resources: Resources,
    *,
    model_info: dict[str, Any] | None = None,  # JSON-able
    overwrite: bool = False,
) -> dict[str, Any]:
    """Draws rows with the original columns; each shard becomes exactly one part.

    A shard is a pure function of model, seed, shard number and settings, so that it is
    the same bytes wherever and however often processors draw it; on GPUs the last
    digits differ. A job that was stopped is completed by the same call.

    With `config.given`, a shard completes a fragment of that dataset: `per_row` times
    each of its rows, one after the other, with the given cells and all columns that are
    not modelled as they are. A null there is free, but in the columns
    `config.given_missing`, where it says that the value is missing.

    Args:
        model: Folder of a saved `TableDensity`, local or S3.
        output: Folder for the parts and the manifest, local or S3; `{key}` in it
            stands for the job key.
        config: How many rows, and how; its `output` is not looked at.
        resources: Where it runs.
        model_info: What to note about the model, such as its name, version, run id.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, rows_out, seconds, rows_per_s, and done: whether there was nothing left
        to do.

    Raises:
        ValueError: The model cannot condition on what is given.
        FileExistsError: The output folder holds something else.
    """
    began = time.monotonic()
    density = load(model)
    about = {**(model_info or {}), "fingerprint": fingerprint(density)}
    settings = config.model_dump(exclude={"output", "given"})
    more = {}
    if config.given is None:
        shards = divide(config.rows, config.rows_per_shard)
    else:
        dataset = open_given(density, config.given, config)
        shards = completions(dataset, config.per_row)
        del settings["rows"]
        more = {"data": dataset.fingerprint}
    key = manifest.job_key(
        job="sample",
        format=FORMAT,
        model=about["fingerprint"],
        config=settings,
        **more,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    make = partial(Sampler, model, output, config, key)
    found, new_rows = parts.complete(
        make, shards, output, key, resources, what="sample: rows"
    )
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
        **({"input": config.given} if config.given else {}),
        **more,
        model=about,
        config=settings,
        rows_out=sum(facts["rows_out"] for facts in found),
        files=[entry for facts in found for entry in facts["files"]],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
    )
    return summary(output, content, done=False)


def divide(rows: int, rows_per_shard: int) -> list[Shard]:
    """Shards of `rows_per_shard` rows, the last one of what is left."""
    starts = range(0, rows, rows_per_shard)
    return [
        Shard(i, min(rows_per_shard, rows - start)) for i, start in enumerate(starts)
    ]


def open_given(density: TableDensity, path: str, config: SampleConfig) -> Dataset:
    """The dataset of given rows, in fragments that make shards of the wanted size.

    Raises:
        ValueError: It has no modelled column, or one that the model cannot condition
            on, or a column of a name that the output uses otherwise.
    """
    most = max(1, config.rows_per_shard // config.per_row)
    dataset = datasets.open_dataset(path, rows_per_fragment=most)
    names = dataset.schema.names
    missing = config.given_missing
    datasets.check_columns(dataset.schema, {"sample.given_missing": missing})
    check_modelled(density.encoder, missing)
    known = [name for name in density.columns if name in names]
    if not known:
        raise ValueError(
            f"{path}: has none of the modelled columns ({', '.join(density.columns)}), "
            "so nothing is given; without --given rows are drawn without conditions"
        )
    if config.log_prob and LOG_PROB in names:
        raise ValueError(
            f"{path}: column {LOG_PROB!r} has the name of a column of the output; "
            "rename it, or set sample.log_prob to false"
        )
    try:
        density.encoder.check_some(dataset.schema, known)
        if len(known) == 1:  # of more, those that are null would not count
            whole = {known[0]: np.ones(1, bool)}
            check_given(density.model, density.columns, whole)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return dataset


def completions(dataset: Dataset, per_row: int) -> list[Shard]:
    """A shard for each fragment of given rows."""
    return [
        Shard(fragment.index, fragment.rows * per_row, fragment)
        for fragment in dataset.fragments
    ]


class Sampler:
    """Draws shards from a model that each actor loads once.

    Args:
        model: Folder of a saved `TableDensity`.
        output: Folder of the parts.
        config: The seed, and how rows are drawn.
        key: The job key.
    """

    def __init__(self, model: str, output: str, config: SampleConfig, key: str) -> None:
        self.density = load(model)
        self.output = output
        self.config = config
        # Nothing here may depend on where the model came from: version numbers differ
        # between registries, and a shard is to be the same bytes everywhere.
        self.about = {
            "job_key": key,
            "model": fingerprint(self.density),
            "seed": config.seed,
        }

    def __call__(self, shard: Shard) -> parts.Facts:
        """Writes the part of a shard; its facts."""
        facts = {**self.about, "shard": shard.index}
        if shard.given is not None:
            facts |= {"source": shard.given.name, "first_row": shard.given.first}
        table = self.draw(shard)
        facts["rows_out"] = table.num_rows
        entry = parts.write(self.output, parts.name(shard.index), table, facts)
        return {**facts, "files": [entry]}

    def draw(self, shard: Shard) -> pa.Table:
        """The rows of a shard."""
        config = self.config
        given = None
        if shard.given is not None:
            given = repeated(datasets.read(shard.given), config.per_row)
        try:
            return self.density.sample(
                shard.rows,
                seed=config.seed,
                stream=shard.index,
                log_prob=config.log_prob,
                temperature=config.temperature,
                top_p=config.top_p,
                precision=config.precision,
                given=given,
                missing=config.given_missing,
            )
        except ValueError as error:
            if shard.given is None:
                raise
            where = f"{shard.given.path}, rows from {shard.given.first} on"
            times = f", each {config.per_row} times" if config.per_row > 1 else ""
            raise ValueError(f"{where}{times}: {error}") from error


def repeated(rows: pa.Table, times: int) -> pa.Table:
    """Each row so many times, one after the other."""
    if times == 1:
        return rows
    return rows.take(pa.array(np.repeat(np.arange(rows.num_rows), times)))


def summary(output: str, content: dict[str, Any], *, done: bool) -> dict[str, Any]:
    """What a caller wants to know of a manifest."""
    told = ("rows_out", "seconds", "rows_per_s")
    return {"path": output, **{name: content[name] for name in told}, "done": done}
