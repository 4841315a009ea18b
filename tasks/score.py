"""Every row's probability and strangeness, fragment by fragment."""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.density import TableDensity, scored_schema
from tasks import datasets, manifest, parts, storage
from tasks.config import Resources, ScoreConfig
from tasks.datasets import Dataset, Fragment

OnBadFile = Literal["stop", "quarantine"]

STRANGEST = 5
"""Rows that are named in the manifest, the strangest of all."""

QUARANTINE = "quarantine"


def score(
    model: str,
    source: str,
    output: str,
    config: ScoreConfig,
    resources: Resources,
    *,
    id_columns: tuple[str, ...] = (),
    model_info: dict[str, Any] | None = None,  # JSON-able
    on_bad_file: OnBadFile = "stop",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Scores every row of a dataset; each fragment becomes exactly one part.

    Part k holds, in input order, the id and partition columns of fragment k and what
    `TableDensity.score` gives. Rows that cannot be scored stand in `quarantine/` with
    the reason. A job that was stopped is completed by the same call.

    Args:
        model: Folder of a saved `TableDensity`, local or S3.
        source: The dataset, as for `datasets.open_dataset`.
        output: Folder for the parts and the manifest, local or S3; `{key}` in it
            stands for the job key.
        config: What is written; its `input` and `output` are not looked at.
        resources: Where it runs.
        id_columns: Columns that are carried to the output.
        model_info: What to note about the model, such as its name, version, run id.
        on_bad_file: Whether an unreadable file stops the job or goes to quarantine.
        overwrite: Whether another job's output may be replaced.

    Returns:
        path, rows_in, rows_out, rows_quarantined, anomalies, strangest (rows with
        their explanations), bad_files (set aside, their rows cannot be counted),
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
    judge(density, dataset.schema.empty_table(), config)  # raises before it matters
    about = {**(model_info or {}), "fingerprint": fingerprint(density)}
    settings = config.model_dump(exclude={"input", "output"})
    key = manifest.job_key(
        job="score",
        model=about["fingerprint"],
        data=dataset.fingerprint,
        config=settings,
        carried=carried,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    make = partial(Scorer, model, output, config, carried, about, key, on_bad_file)
    found, new_rows = parts.complete(
        make, dataset.fragments, output, key, resources, what="score: rows"
    )
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
        input=source,
        data=dataset.fingerprint,
        model=about,
        config=settings,
        **totals(found),
        bad_files=[{"name": b.name, "reason": b.reason} for b in dataset.bad_files],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
    )
    return summary(output, content, done=False)


class Scorer:
    """Scores fragments with a model that each actor loads once.

    Args:
        model: Folder of a saved `TableDensity`.
        output: Folder of the parts.
        config: What is written.
        carried: Columns that are carried from the input.
        about: What is noted about the model.
        key: The job key.
        on_bad_file: Whether an unreadable fragment stops the job.
    """

    def __init__(
        self,
        model: str,
        output: str,
        config: ScoreConfig,
        carried: list[str],
        about: dict[str, Any],  # JSON-able
        key: str,
        on_bad_file: OnBadFile,
    ) -> None:
        self.density = load(model)
        self.output = output
        self.config = config
        self.carried = carried
        self.about = {"job_key": key, "model": about, "threshold": config.threshold}
        self.on_bad_file = on_bad_file

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes the part of a fragment, and what goes to quarantine; its facts."""
        try:
            table = self.read(fragment)
        except pa.ArrowInvalid as error:
            if self.on_bad_file == "stop":
                raise ValueError(
                    f"{error}; replace it, or set data.on_bad_file: quarantine"
                ) from error
            nothing = fragment.schema.empty_table()
            scored = judge(self.density, nothing, self.config)
            bad = unread(fragment, self.carried, str(error))
            return self.publish(fragment, nothing, scored, bad)
        scored = judge(self.density, table, self.config)
        finite = pc.and_(
            pc.is_finite(scored["log_prob"]), pc.is_finite(scored["anomaly_score"])
        )
        bad = unscored(fragment, table.select(self.carried), scored, finite)
        if bad.num_rows:
            table, scored = table.filter(finite), scored.filter(finite)
        return self.publish(fragment, table, scored, bad)

    def read(self, fragment: Fragment) -> pa.Table:
        """The columns of a fragment that are modelled or carried."""
        wanted = {*self.density.encoder.names, *self.carried}
        table = datasets.read(fragment, wanted)
        if table.num_rows != fragment.rows:
            raise ValueError(
                f"{fragment.path}: held {fragment.rows} rows in row groups "
                f"{fragment.row_groups} and now holds {table.num_rows}; do not change "
                "a dataset while it is scored"
            )
        return table

    def publish(
        self, fragment: Fragment, table: pa.Table, scored: pa.Table, bad: pa.Table
    ) -> parts.Facts:
        """Writes the part, after its quarantine, so that a part is proof of both."""
        file = parts.name(fragment.index)
        beside = {f"{QUARANTINE}/{file}": bad.num_rows} if bad.num_rows else {}
        files = [parts.write(self.output, name, bad, self.about) for name in beside]
        facts = {
            **self.about,
            "source": fragment.name,
            "first_row": fragment.first,
            "rows_in": fragment.rows,
            "rows_out": scored.num_rows,
            "rows_quarantined": bad.num_rows,
            "anomalies": pc.sum(scored["is_anomaly"], min_count=0).as_py(),
            "strangest": self.strangest(fragment, table, scored),
            "beside": beside,
        }
        for place, column in enumerate(self.carried):
            scored = scored.add_column(place, table.schema.field(column), table[column])
        return {
            **facts,
            "files": [parts.write(self.output, file, scored, facts), *files],
        }

    def strangest(
        self, fragment: Fragment, table: pa.Table, scored: pa.Table
    ) -> list[dict[str, Any]]:
        """The strangest rows of a fragment, explained, as JSON-able dicts."""
        order = np.argsort(-scored["anomaly_score"].to_numpy(), kind="stable")
        rows = pa.array(order[:STRANGEST])
        # They are explained even where the output has no explanations.
        judged = judge(self.density, table.take(rows), self.config, explain="all")
        numbers = ["log_prob", "anomaly_score", "p_value", "severity"]
        ids = {name: table[name].take(rows).to_pylist() for name in self.carried}
        return [
            {
                "source": fragment.name,
                "row": fragment.first + row,
                "ids": {name: plain(values[k]) for name, values in ids.items()},
                **facts,
                "explanation": explanation,
            }
            for k, (row, facts, explanation) in enumerate(
                zip(
                    rows.to_pylist(),
                    scored.select(numbers).take(rows).to_pylist(),
                    judged["explanation"].to_pylist(),
                    strict=True,
                )
            )
        ]


def judge(
    density: TableDensity,
    table: pa.Table,
    config: ScoreConfig,
    explain: Literal["all", "flagged", "none"] | None = None,
) -> pa.Table:
    """What the model says about the rows of `table`."""
    return density.score(
        table,
        statistic=config.statistic,
        threshold=config.threshold,
        missing=config.missing,
        explain=explain or config.explain,
        explain_columns=config.explain_columns,
        column_log_prob=config.column_log_prob,
    )


def load(model: str) -> TableDensity:
    """The density in a folder, local or S3."""
    with tempfile.TemporaryDirectory() as copy:
        return TableDensity.load(storage.fetch(model, Path(copy)))


def fingerprint(density: TableDensity) -> str:
    """The hash of a saved density: of its description and weights."""
    return str(density.info["fingerprints"]["model"])


def carried_columns(
    density: TableDensity, source: str, dataset: Dataset, id_columns: Sequence[str]
) -> list[str]:
    """The id and partition columns of the output.

    Raises:
        ValueError: There is no such column, the output has another of that name, or
            the model cannot read the dataset.
    """
    datasets.check_columns(dataset.schema, {"data.id": id_columns})
    try:
        density.encoder.check(dataset.schema)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    partition = [key for key, _ in dataset.fragments[0].partition]
    carried = list(dict.fromkeys([*id_columns, *partition]))
    written = scored_schema(density.columns, density.sequences).names
    taken = {*written, "source", "row", "reason"}
    for column in carried:
        if column in taken:
            raise ValueError(
                f"{source}: column {column!r} has the name of a column of the output; "
                "rename it, or take it from data.id"
            )
    return carried


def unscored(
    fragment: Fragment, carried: pa.Table, scored: pa.Table, finite: pa.ChunkedArray
) -> pa.Table:
    """What goes to quarantine: rows whose score is not a finite number."""
    bad = pc.invert(finite)
    reasons = [
        f"log_prob is {log_prob}, anomaly_score is {anomaly_score}"
        for log_prob, anomaly_score in zip(
            scored["log_prob"].filter(bad).to_pylist(),
            scored["anomaly_score"].filter(bad).to_pylist(),
            strict=True,
        )
    ]
    rows = np.flatnonzero(bad.to_numpy())
    return quarantined(fragment, carried.filter(bad), rows, reasons)


def unread(fragment: Fragment, carried: Sequence[str], reason: str) -> pa.Table:
    """What goes to quarantine of a fragment that cannot be read: all its rows."""
    schema = pa.schema([fragment.schema.field(c).with_nullable(True) for c in carried])
    nulls = [pa.nulls(fragment.rows, field.type) for field in schema]
    table = pa.Table.from_arrays(nulls, schema=schema)
    return quarantined(
        fragment, table, np.arange(fragment.rows), [reason] * fragment.rows
    )


def quarantined(
    fragment: Fragment, carried: pa.Table, rows: np.ndarray, reasons: list[str]
) -> pa.Table:
    """`carried` with the file, the row's number in it, and the reason."""
    more = {
        "source": pa.array([fragment.name] * len(reasons), pa.string()),
        "row": pa.array(rows + fragment.first, pa.int64()),
        "reason": pa.array(reasons, pa.string()),
    }
    # Built anew, since a table of no columns, where nothing is carried, has no rows.
    kept = {name: carried[name] for name in carried.column_names}
    fields = [*carried.schema, *(pa.field(n, v.type) for n, v in more.items())]
    return pa.table({**kept, **more}, schema=pa.schema(fields))


def totals(found: Sequence[parts.Facts]) -> dict[str, Any]:
    """What the manifest says about all parts together."""
    counts = ("rows_in", "rows_out", "rows_quarantined", "anomalies")
    strangest = [row for facts in found for row in facts["strangest"]]
    return {
        **{name: sum(facts[name] for facts in found) for name in counts},
        "strangest": sorted(strangest, key=lambda row: -row["anomaly_score"])[
            :STRANGEST
        ],
        "files": [entry for facts in found for entry in facts["files"]],
    }


def summary(output: str, content: dict[str, Any], *, done: bool) -> dict[str, Any]:
    """What a caller wants to know of a manifest."""
    told = (
        "rows_in",
        "rows_out",
        "rows_quarantined",
        "anomalies",
        "strangest",
        "bad_files",
        "seconds",
        "rows_per_s",
    )
    return {"path": output, **{name: content[name] for name in told}, "done": done}


def plain(value: object) -> object:
    """A value of a cell as JSON can hold it."""
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
