"""Synthetic rows, shard by shard."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks import manifest, parts
from tasks.config import Resources, SampleConfig
from tasks.score import fingerprint, load


@dataclass(frozen=True)
class Shard:
    """So many rows from the random stream number `index`."""

    index: int
    rows: int


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

    A shard is a pure function of model, seed and shard number, so that it is the same
    bytes wherever and however often it is drawn. A job that was stopped is completed
    by the same call.

    Args:
        model: Folder of a saved `TableDensity`, local or S3.
        output: Folder for the parts and the manifest, local or S3; `{key}` in it
            stands for the job key.
        config: How many rows and from where; its `output` is not looked at.
        resources: Where it runs.
        model_info: What to note about the model, such as its name, version, run id.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, rows_out, seconds, rows_per_s, and done: whether there was nothing left
        to do.

    Raises:
        FileExistsError: The output folder holds something else.
    """
    began = time.monotonic()
    about = {**(model_info or {}), "fingerprint": fingerprint(load(model))}
    settings = config.model_dump(exclude={"output"})
    key = manifest.job_key(job="sample", model=about["fingerprint"], config=settings)
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    shards = divide(config.rows, config.rows_per_shard)
    make = partial(Sampler, model, output, config, about, key)
    found, new_rows = parts.complete(
        make, shards, output, key, resources, what="sample: rows"
    )
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
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


class Sampler:
    """Draws shards from a model that each actor loads once.

    Args:
        model: Folder of a saved `TableDensity`.
        output: Folder of the parts.
        config: The seed, and whether each row's log_prob is written.
        about: What is noted about the model.
        key: The job key.
    """

    def __init__(
        self,
        model: str,
        output: str,
        config: SampleConfig,
        about: dict[str, Any],  # JSON-able
        key: str,
    ) -> None:
        self.density = load(model)
        self.output = output
        self.config = config
        self.about = {"job_key": key, "model": about, "seed": config.seed}

    def __call__(self, shard: Shard) -> parts.Facts:
        """Writes the part of a shard; its facts."""
        table = self.density.sample(
            shard.rows,
            seed=self.config.seed,
            stream=shard.index,
            log_prob=self.config.log_prob,
        )
        facts = {**self.about, "shard": shard.index, "rows_out": table.num_rows}
        entry = parts.write(self.output, parts.name(shard.index), table, facts)
        return {**facts, "files": [entry]}


def summary(output: str, content: dict[str, Any], *, done: bool) -> dict[str, Any]:
    """What a caller wants to know of a manifest."""
    told = ("rows_out", "seconds", "rows_per_s")
    return {"path": output, **{name: content[name] for name in told}, "done": done}
