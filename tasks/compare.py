"""Two models on the same rows: which one finds them more probable, and where."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.comparable import comparable
from ar_models.density import TableDensity
from tasks import compare_page, datasets, manifest, parts, segments, storage
from tasks.config import EvaluateConfig, Resources
from tasks.datasets import Fragment, OnBadFile
from tasks.gate import check_columns
from tasks.intervals import interval
from tasks.models import check_readable, fingerprint, load

Json = dict[str, Any]  # JSON-able values

FORMAT = 2
"""Enters the job key; raised when the same job would give other figures."""

ROWS = "rows"
"""Folder, within the output, of both log-probabilities of each row."""

RESULT, PAGE = "comparison.json", "comparison.html"

FRAGMENT = 100_000
"""Rows that are looked at by one worker at a time."""


def compare(
    models: tuple[str, str],
    source: str,
    output: str,
    config: EvaluateConfig,
    resources: Resources,
    *,
    infos: tuple[Json, Json] = ({}, {}),
    on_bad_file: OnBadFile = "stop",
    overwrite: bool = False,
) -> Json:
    """Compares the log-probabilities that two models give to the same rows.

    Writes comparison.json, comparison.html and what was found for each row. A job that
    was stopped is completed by the same call.

    Args:
        models: Folders of saved `TableDensity`s, local or S3.
        source: The rows, as for `datasets.open_dataset`.
        output: Folder to write; `{key}` in it stands for the job key.
        config: Intervals and segments.
        resources: Where it runs.
        infos: What to note about each model, such as its name, version, run id.
        on_bad_file: Whether an unreadable file stops the job or is left out.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, key, page, rows_out, nll (of each), difference (nats per row by which the
        first one's log-probability is higher, with `difference_interval`), metrics (by
        MLflow's names), seconds, rows_per_s and done.

    Raises:
        ValueError: The models differ in their columns, or cannot read the rows.
    """
    began = time.monotonic()
    dataset = datasets.open_dataset(
        source, rows_per_fragment=FRAGMENT, on_bad_file=on_bad_file
    )
    pair = load(models[0]), load(models[1])
    same = check_columns(*pair)
    if not same.passed:
        raise ValueError(f"{models[0]} and {models[1]}: {same.remark}")
    for density in pair:
        check_readable(density, source, dataset.schema)
    segments.check(dataset.schema, config.segments, None)
    about = [
        {**info, "fingerprint": fingerprint(density)}
        for info, density in zip(infos, pair, strict=True)
    ]
    settings = config.model_dump(
        mode="json", include={"confidence", "bootstrap", "segments"}
    )
    key = manifest.job_key(
        job="compare",
        format=FORMAT,
        models=[each["fingerprint"] for each in about],
        data=dataset.fingerprint,
        config=settings,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    folder = storage.join(output, ROWS)
    make = partial(Pair, models, folder, config.segments, key, on_bad_file)
    found, new_rows = parts.complete(
        make, dataset.fragments, folder, key, resources, what="compare: rows"
    )
    result = {
        "input": source,
        "models": about,
        **differences(pair[0], found, read_rows(folder), config),
    }
    storage.write_json(storage.join(output, RESULT), result)
    with storage.publish(storage.join(output, PAGE)) as unfinished:
        unfinished.write_text(compare_page.render(key, result), encoding="utf-8")
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
        input=source,
        data=dataset.fingerprint,
        models=about,
        config=settings,
        rows_in=sum(facts["rows_in"] for facts in found),
        rows_out=result["rows"],
        rows_quarantined=sum(facts["rows_in"] for facts in found) - result["rows"],
        bad_files=[{"name": b.name, "reason": b.reason} for b in dataset.bad_files],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
        files=[
            {**entry, "path": f"{ROWS}/{entry['path']}"}
            for facts in found
            for entry in facts["files"]
        ]
        + [manifest.describe(output, name, 0) for name in (RESULT, PAGE)],
    )
    return summary(output, content, done=False)


class Pair:
    """Two models, loaded once, that look at fragments.

    Args:
        models: Their folders.
        folder: Folder of the parts.
        columns: Columns whose values are segments.
        key: The job key.
        on_bad_file: Whether an unreadable fragment stops the job.
    """

    def __init__(
        self,
        models: tuple[str, str],
        folder: str,
        columns: tuple[str, ...],
        key: str,
        on_bad_file: OnBadFile,
    ) -> None:
        self.views = comparable(load(models[0]), load(models[1]))
        self.folder = folder
        self.columns = columns
        self.key = key
        self.on_bad_file = on_bad_file

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes both log-probabilities of a fragment's rows; its facts."""
        first, second = (view.density for view in self.views)
        wanted = {*first.columns, *self.columns}
        try:
            table = datasets.read(fragment, wanted)
        except pa.ArrowInvalid as error:
            if self.on_bad_file == "stop":
                raise ValueError(
                    f"{error}; replace it, or set data.on_bad_file: quarantine"
                ) from error
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
        facts = {
            "job_key": self.key,
            "rows_in": fragment.rows,
            "columns": (mine - theirs).sum(axis=0).tolist(),
        }
        kept = segments.carried(table, self.columns, None)
        part = pa.table(
            {"first": mine.sum(axis=1), "second": theirs.sum(axis=1), **kept}
        )
        entry = parts.write(self.folder, parts.name(fragment.index), part, facts)
        return {**facts, "files": [entry]}


def read_rows(folder: str) -> pa.Table:
    """Both log-probabilities and the segments of all rows, in order."""
    filesystem, inner = storage.resolve(folder)
    names = storage.list_files(folder)
    return pa.concat_tables(
        [
            pq.read_table(f"{inner}/{name}", filesystem=filesystem, partitioning=None)
            for name in names
        ]
    )


def differences(
    first: TableDensity,
    found: Sequence[parts.Facts],
    rows: pa.Table,
    config: EvaluateConfig,
) -> Json:
    """The content of comparison.json but for the names; nats per row.

    A difference is positive where the first model finds rows more probable.
    """
    if not len(rows):
        raise ValueError("no row has a finite log-probability with both models")
    sums = np.sum([facts["columns"] for facts in found], axis=0)
    everything = np.arange(len(rows))
    return {
        "rows": len(rows),
        "confidence": config.confidence,
        **paired(rows, everything, config),
        "columns": [
            {"name": name, "difference": float(total / len(rows))}
            for name, total in zip(first.columns, sums, strict=True)
        ],
        "segments": [
            {
                "column": column,
                "values": [
                    {"value": value, "rows": len(own), **paired(rows, own, config)}
                    for value, own in segments.members(rows, column)
                ],
            }
            for column in config.segments
        ],
    }


def paired(rows: pa.Table, which: np.ndarray, config: EvaluateConfig) -> Json:
    """The mean NLLs of some rows and their paired difference with its interval."""
    first = rows["first"].to_numpy()[which]
    second = rows["second"].to_numpy()[which]
    return {
        "nll": [float(-first.mean()), float(-second.mean())],
        "difference": float((first - second).mean()),
        "difference_interval": interval(
            first - second, config.confidence, config.bootstrap
        ),
    }


def summary(output: str, content: Json, *, done: bool) -> Json:
    """What a caller wants to know of a manifest."""
    result = storage.read_json(storage.join(output, RESULT))
    return {
        "path": output,
        "key": content["job_key"],
        "page": storage.join(output, PAGE),
        "nll": result["nll"],
        "difference": result["difference"],
        "difference_interval": result["difference_interval"],
        "metrics": metrics(result),
        **{name: content[name] for name in ("rows_out", "seconds", "rows_per_s")},
        "done": done,
    }


def metrics(result: Json) -> dict[str, float]:
    """The main figures by MLflow's names."""
    low, high = result["difference_interval"]
    found = {
        "compare/difference": result["difference"],
        "compare/difference_low": low,
        "compare/difference_high": high,
    }
    for each in result["segments"]:
        for value in each["values"]:
            place = map(segments.metric_name, (each["column"], value["value"]))
            name = "/".join(["compare/segment_difference", *place])
            found[name] = value["difference"]
    return found
