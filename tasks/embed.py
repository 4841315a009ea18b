"""What a model makes of every row, for other models, fragment by fragment."""

import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import datasets, manifest, parts
from tasks.config import EmbedConfig, Resources
from tasks.datasets import Fragment, OnBadFile
from tasks.models import fingerprint, load
from tasks.score import QUARANTINE, carried_columns, unread
from tasks.score import quarantined as in_quarantine

FEATURES = "features"
"""The column that is written: a list of so many 32-bit reals."""


def embed(
    model: str,
    source: str,
    output: str,
    config: EmbedConfig,
    resources: Resources,
    *,
    id_columns: tuple[str, ...] = (),
    model_info: dict[str, Any] | None = None,  # JSON-able
    on_bad_file: OnBadFile = "stop",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the features of every row of a dataset; each fragment becomes one part.

    Part k holds, in input order, the id and partition columns of fragment k and the
    column `features`. Rows whose features are not finite stand in `quarantine/` with
    the reason. A job that was stopped is completed by the same call.

    Args:
        model: Folder of a saved `TableDensity`, local or S3.
        source: The dataset, as for `datasets.open_dataset`.
        output: Folder for the parts and the manifest, local or S3; `{key}` in it
            stands for the job key.
        config: Rows of a fragment; its `input` and `output` are not looked at.
        resources: Where it runs.
        id_columns: Columns that are carried to the output.
        model_info: What to note about the model, such as its name, version, run id.
        on_bad_file: Whether an unreadable file stops the job or goes to quarantine.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, features (how many), rows_in, rows_out, rows_quarantined, bad_files,
        seconds, rows_per_s, and done: whether there was nothing left to do.

    Raises:
        ValueError: The model cannot read the dataset, or a column is not as asked.
        FileExistsError: The output folder holds something else.
    """
    began = time.monotonic()
    dataset = datasets.open_dataset(
        source, rows_per_fragment=config.rows_per_fragment, on_bad_file=on_bad_file
    )
    density = load(model)
    carried = carried_columns(density, source, dataset, id_columns)
    if FEATURES in carried:
        raise ValueError(
            f"{source}: column {FEATURES!r} has the name of a column of the output; "
            "rename it, or take it from data.id"
        )
    about = {**(model_info or {}), "fingerprint": fingerprint(density)}
    settings = config.model_dump(exclude={"input", "output", "carry"})
    key = manifest.job_key(
        job="embed",
        model=about["fingerprint"],
        data=dataset.fingerprint,
        config=settings,
        carried=carried,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    make = partial(Embedder, model, output, carried, about, key, on_bad_file)
    found, new_rows = parts.complete(
        make, dataset.fragments, output, key, resources, what="embed: rows"
    )
    seconds = time.monotonic() - began
    counts = ("rows_in", "rows_out", "rows_quarantined")
    content = manifest.finish(
        output,
        key,
        input=source,
        data=dataset.fingerprint,
        model=about,
        config=settings,
        features=max(facts["features"] for facts in found),
        **{name: sum(facts[name] for facts in found) for name in counts},
        bad_files=[{"name": b.name, "reason": b.reason} for b in dataset.bad_files],
        files=[entry for facts in found for entry in facts["files"]],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
    )
    return summary(output, content, done=False)


class Embedder:
    """Writes the features of fragments with a model that each actor loads once.

    Args:
        model: Folder of a saved `TableDensity`.
        output: Folder of the parts.
        carried: Columns that are carried from the input.
        about: What is noted about the model.
        key: The job key.
        on_bad_file: Whether an unreadable fragment stops the job.
    """

    def __init__(
        self,
        model: str,
        output: str,
        carried: list[str],
        about: dict[str, Any],  # JSON-able
        key: str,
        on_bad_file: OnBadFile,
    ) -> None:
        self.density = load(model)
        self.output = output
        self.carried = carried
        self.about = {"job_key": key, "model": about}
        self.on_bad_file = on_bad_file

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes the part of a fragment, and what goes to quarantine; its facts."""
        wanted = {*self.density.encoder.names, *self.carried}
        try:
            table = datasets.read(fragment, wanted)
        except pa.ArrowInvalid as error:
            if self.on_bad_file == "stop":
                raise ValueError(
                    f"{error}; replace it, or set data.on_bad_file: quarantine"
                ) from error
            bad = unread(fragment, self.carried, str(error))
            return self.publish(fragment, fragment.schema.empty_table(), bad)
        return self.publish(fragment, table, None)

    def publish(
        self, fragment: Fragment, table: pa.Table, bad: pa.Table | None
    ) -> parts.Facts:
        """Writes the part of the rows of `table`, after its quarantine."""
        features = self.density.features(table)
        finite = np.isfinite(features).all(axis=1)
        if bad is None:
            rows = np.flatnonzero(~finite)
            reasons = ["the features are not finite numbers"] * len(rows)
            carried = table.select(self.carried).filter(pa.array(~finite))
            bad = in_quarantine(fragment, carried, rows, reasons)
        table, features = table.filter(pa.array(finite)), features[finite]
        file = parts.name(fragment.index)
        beside = {f"{QUARANTINE}/{file}": bad.num_rows} if bad.num_rows else {}
        files = [parts.write(self.output, name, bad, self.about) for name in beside]
        facts = {
            **self.about,
            "source": fragment.name,
            "first_row": fragment.first,
            "features": features.shape[1],
            "rows_in": fragment.rows,
            "rows_out": len(features),
            "rows_quarantined": bad.num_rows,
            "beside": beside,
        }
        width = features.shape[1]
        values = pa.array(np.ascontiguousarray(features).reshape(-1), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(values, width)
        fields = [table.schema.field(name) for name in self.carried]
        written = pa.Table.from_arrays(
            [*(table[name] for name in self.carried), column],
            schema=pa.schema([*fields, pa.field(FEATURES, column.type)]),
        )
        return {
            **facts,
            "files": [parts.write(self.output, file, written, facts), *files],
        }


def summary(output: str, content: dict[str, Any], *, done: bool) -> dict[str, Any]:
    """What a caller wants to know of a manifest."""
    told = (
        "features",
        "rows_in",
        "rows_out",
        "rows_quarantined",
        "bad_files",
        "seconds",
        "rows_per_s",
    )
    return {"path": output, **{name: content[name] for name in told}, "done": done}
