"""The empty cells of a dataset filled, fragment by fragment."""

import time
from functools import partial
from typing import Any

import pyarrow as pa

from ar_models.density import DETAILS, TableDensity
from ar_models.imputation import require_order_agnostic
from tasks import datasets, manifest, parts
from tasks.config import ImputeConfig, Resources
from tasks.datasets import Dataset, Fragment
from tasks.models import check_readable, fingerprint, load

IMPUTATION = "imputation"
"""Column that numbers the imputations of a row, where there are several."""


def impute(
    model: str,
    source: str,
    output: str,
    config: ImputeConfig,
    resources: Resources,
    *,
    model_info: dict[str, Any] | None = None,  # JSON-able
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fills the nulls of a dataset; each fragment becomes exactly one part.

    Part k holds all rows and columns of fragment k, in input order, with the nulls of
    the modelled columns filled as `TableDensity.impute` does; every other cell is as it
    was. With several imputations it holds them one after the other. A job that was
    stopped is completed by the same call.

    Args:
        model: Folder of a saved `TableDensity` of an order-agnostic family.
        source: The dataset, as for `datasets.open_dataset`.
        output: Folder for the parts and the manifest, local or S3; `{key}` in it
            stands for the job key.
        config: What is written; its `input` and `output` are not looked at.
        resources: Where it runs.
        model_info: What to note about the model, such as its name, version, run id.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, rows_in, rows_out, filled and left (cells by column; left are nulls of
        columns that are not modelled), seconds, rows_per_s, and done: whether there was
        nothing left to do.

    Raises:
        ValueError: The family is not order-agnostic, or the model cannot read the
            dataset.
        FileExistsError: The output folder holds something else.
    """
    began = time.monotonic()
    density = load(model)
    dataset = open_checked(density, source, config)
    about = {**(model_info or {}), "fingerprint": fingerprint(density)}
    settings = config.model_dump(exclude={"input", "output"})
    key = manifest.job_key(
        job="impute",
        model=about["fingerprint"],
        data=dataset.fingerprint,
        config=settings,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    make = partial(Imputer, model, output, config, key)
    found, new_rows = parts.complete(
        make, dataset.fragments, output, key, resources, what="impute: rows"
    )
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
        input=source,
        data=dataset.fingerprint,
        model=about,
        config=settings,
        rows_in=dataset.rows,
        rows_out=sum(facts["rows_out"] for facts in found),
        filled=total(facts["filled"] for facts in found),
        left=total(facts["left"] for facts in found),
        files=[entry for facts in found for entry in facts["files"]],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
    )
    return summary(output, content, done=False)


def open_checked(density: TableDensity, source: str, config: ImputeConfig) -> Dataset:
    """The dataset, which the model can read and fill.

    Raises:
        ValueError: It cannot, or a column has the name of one of the output.
    """
    require_order_agnostic(density.model)
    dataset = datasets.open_dataset(source, rows_per_fragment=config.rows_per_fragment)
    check_readable(density, source, dataset.schema)
    added = {DETAILS: config.details, IMPUTATION: config.imputations > 1}
    for name, is_added in added.items():
        if is_added and name in dataset.schema.names:
            raise ValueError(
                f"{source}: column {name!r} has the name of a column of the output; "
                "rename it"
            )
    return dataset


class Imputer:
    """Fills fragments with a model that each actor loads once.

    Args:
        model: Folder of a saved `TableDensity`.
        output: Folder of the parts.
        config: What is written.
        key: The job key.
    """

    def __init__(self, model: str, output: str, config: ImputeConfig, key: str) -> None:
        self.density = load(model)
        self.output = output
        self.config = config
        self.about = {"job_key": key, "model": fingerprint(self.density)}

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes the part of a fragment; its facts."""
        table = datasets.read(fragment)
        modelled = set(self.density.columns)
        nulls = {name: table[name].null_count for name in table.column_names}
        empty = {name: count for name, count in nulls.items() if count}
        filled = [self.fill(table, fragment, k) for k in range(self.config.imputations)]
        whole = filled[0]
        if len(filled) > 1:
            whole = pa.concat_tables(
                [
                    each.append_column(
                        pa.field(IMPUTATION, pa.int32(), nullable=False),
                        pa.array([k] * len(each), pa.int32()),
                    )
                    for k, each in enumerate(filled)
                ]
            )
        facts = {
            **self.about,
            "source": fragment.name,
            "first_row": fragment.first,
            "rows_in": fragment.rows,
            "rows_out": whole.num_rows,
            "filled": {n: count for n, count in empty.items() if n in modelled},
            "left": {n: count for n, count in empty.items() if n not in modelled},
        }
        entry = parts.write(self.output, parts.name(fragment.index), whole, facts)
        return {**facts, "files": [entry]}

    def fill(self, table: pa.Table, fragment: Fragment, imputation: int) -> pa.Table:
        """The rows of a fragment, filled for the time number `imputation`."""
        config = self.config
        try:
            return self.density.impute(
                table,
                method=config.method,
                seed=config.seed,
                stream=fragment.index * config.imputations + imputation,
                confidence=config.confidence,
                details=config.details,
            )
        except ValueError as error:
            raise ValueError(f"{fragment.path}: {error}") from error


def total(counts: Any) -> dict[str, int]:  # an iterable of counts by name
    """The sums of counts by name."""
    sums: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def summary(output: str, content: dict[str, Any], *, done: bool) -> dict[str, Any]:
    """What a caller wants to know of a manifest."""
    told = ("rows_in", "rows_out", "filled", "left", "seconds", "rows_per_s")
    return {"path": output, **{name: content[name] for name in told}, "done": done}
