"""Every row's probability and strangeness, fragment by fragment, in two passes.

The first pass asks the model about every row; what it finds stands in parts in a folder
of its own. The second completes each part by what only all parts together say: q-values
and flags. It asks the model only about rows that it flags and that lack an explanation.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ar_models.density import TableDensity, check_choices, put, scored_schema
from ar_models.ranking import Rule, optional
from tasks import cluster, datasets, flagging, manifest, parts, storage
from tasks.config import Resources, ScoreConfig
from tasks.datasets import Dataset, Fragment, OnBadFile
from tasks.models import check_readable, fingerprint, load

STRANGEST = 5
"""Rows that are named in the manifest, the strangest of all."""

QUARANTINE = "quarantine"

STAGED = "_first_pass"
"""Folder of the first pass's parts, within the output as long as the job is at work."""

FORMAT = 3
"""Enters the job key; raised when the same job would give other rows."""


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
    `TableDensity.score` gives, all fragments being one dataset. Rows that cannot be
    scored stand in `quarantine/` with the reason. A job that was stopped is completed
    by the same call.

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
        their explanations), rule (what an anomaly is), segments (as `TableDensity`
        gives them), bad_files (set aside, their rows cannot be counted), seconds,
        rows_per_s, and done: whether there was nothing left to do.

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
    rule = rule_of(config)
    check_choices(config.statistic, config.explain, rule, bool(density.calibration))
    measure(density, dataset.schema.empty_table(), config)  # raises before it matters
    about = {**(model_info or {}), "fingerprint": fingerprint(density)}
    settings = config.model_dump(exclude={"input", "output"})
    key = manifest.job_key(
        job="score",
        format=FORMAT,
        model=about["fingerprint"],
        data=dataset.fingerprint,
        config=settings,
        carried=carried,
    )
    output = output.replace("{key}", key)
    content = manifest.claim(output, key, overwrite=overwrite)
    if content is not None:
        return summary(output, content, done=True)
    job = Job(model, output, config, tuple(carried), about, key, on_bad_file)
    found, new_rows = both_passes(job, dataset.fragments, density, resources)
    seconds = time.monotonic() - began
    content = manifest.finish(
        output,
        key,
        input=source,
        data=dataset.fingerprint,
        model=about,
        config=settings,
        rule={rule.kind: rule.value},
        segments=segments(density, config),
        **totals(found),
        bad_files=[{"name": b.name, "reason": b.reason} for b in dataset.bad_files],
        seconds=round(seconds, 3),
        rows_per_s=round(new_rows / seconds, 1),
    )
    return summary(output, content, done=False)


@dataclass(frozen=True)
class Job:
    """What both passes know.

    Attributes:
        model: Folder of a saved `TableDensity`.
        output: Folder of the parts.
        config: What is written.
        carried: Columns that are carried from the input.
        about: What is noted about the model, JSON-able.
        key: The job key.
        on_bad_file: Whether an unreadable fragment stops the job.
    """

    model: str
    output: str
    config: ScoreConfig
    carried: tuple[str, ...]
    about: dict[str, Any]
    key: str
    on_bad_file: OnBadFile

    @property
    def staged(self) -> str:
        """Folder of the first pass's parts."""
        return storage.join(self.output, STAGED)

    @property
    def notes(self) -> parts.Facts:
        """What every file of the job says about it."""
        rule = rule_of(self.config)
        return {
            "job_key": self.key,
            "model": self.about,
            "rule": {rule.kind: rule.value},
            "calibrate_by": self.config.calibrate_by,
        }


def both_passes(
    job: Job,
    fragments: Sequence[Fragment],
    density: TableDensity,
    resources: Resources,
) -> tuple[list[parts.Facts], int]:
    """Makes the parts that are not there yet.

    A part of the output is as good a source for the survey between the passes as one of
    the first pass, so what is done already is not asked of the model again.

    Returns:
        The facts of all parts, in order, and how many rows the model was asked about.
    """
    whole = parts.finished(job.output, job.key, [f.index for f in fragments])
    missing = [fragment for fragment in fragments if fragment.index not in whole]
    with cluster.assembled(resources.gpus_per_process) as crew:
        _, rows = parts.complete(
            partial(Scorer, job),
            missing,
            job.staged,
            job.key,
            resources,
            what="score: rows",
            crew=crew,
        )
        paths = [
            storage.join(
                job.output if fragment.index in whole else job.staged,
                parts.name(fragment.index),
            )
            for fragment in fragments
        ]
        verdict = flagging.survey(paths, rule_of(job.config), bool(density.calibration))
        found, _ = parts.complete(
            partial(Finisher, job, verdict),
            fragments,
            job.output,
            job.key,
            resources,
            what="score: rows flagged",
            crew=crew,
        )
    storage.delete(job.staged)
    return found, rows


class Scorer:
    """The first pass, with a model that each actor loads once.

    Args:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.config = job.config
        self.density = load(job.model)

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes what the model says about a fragment; the facts of that."""
        try:
            table = read(self.job, self.density, fragment)
        except pa.ArrowInvalid as error:
            if self.job.on_bad_file == "stop":
                raise ValueError(
                    f"{error}; replace it, or set data.on_bad_file: quarantine"
                ) from error
            nothing = fragment.schema.empty_table()
            scored = measure(self.density, nothing, self.config)
            bad = unread(fragment, self.job.carried, str(error))
            return self.publish(fragment, nothing, scored, bad)
        scored = self.explain(table, measure(self.density, table, self.config))
        finite = pc.and_(
            pc.is_finite(scored["log_prob"]), pc.is_finite(scored["anomaly_score"])
        )
        carried = table.select(list(self.job.carried))
        bad = unscored(fragment, carried, scored, finite)
        if bad.num_rows:
            table, scored = table.filter(finite), scored.filter(finite)
        return self.publish(fragment, table, scored, bad)

    def explain(self, table: pa.Table, scored: pa.Table) -> pa.Table:
        """`scored`, explained where it is known already which rows are flagged."""
        rule = rule_of(self.config)
        if self.config.explain != "flagged" or rule.kind != "threshold":
            return scored
        flagged = scored["severity"].to_numpy() >= rule.value
        return put(
            scored,
            "explanation",
            explain_some(self.density, table, flagged, self.config),
        )

    def publish(
        self, fragment: Fragment, table: pa.Table, scored: pa.Table, bad: pa.Table
    ) -> parts.Facts:
        """Writes the part, after its quarantine, so that a part is proof of both."""
        file = parts.name(fragment.index)
        beside = {f"{QUARANTINE}/{file}": bad.num_rows} if bad.num_rows else {}
        notes = self.job.notes
        files = [parts.write(self.job.staged, name, bad, notes) for name in beside]
        facts = {
            **notes,
            "source": fragment.name,
            "first_row": fragment.first,
            "rows_in": fragment.rows,
            "rows_out": scored.num_rows,
            "rows_quarantined": bad.num_rows,
            "strangest": self.strangest(fragment, table, scored),
            "beside": beside,
        }
        for place, column in enumerate(self.job.carried):
            scored = scored.add_column(place, table.schema.field(column), table[column])
        # Soon read again and deleted: quick, not small.
        entry = parts.write(self.job.staged, file, scored, facts, compression="lz4")
        return {**facts, "files": [entry, *files]}

    def strangest(
        self, fragment: Fragment, table: pa.Table, scored: pa.Table
    ) -> list[dict[str, Any]]:
        """The strangest rows of a fragment, explained, as JSON-able dicts."""
        p_value = flagging.p_values(scored)
        order = np.lexsort([-scored["anomaly_score"].to_numpy(), p_value])
        rows = pa.array(order[:STRANGEST])
        # They are explained even where the output has no explanations.
        everything = np.ones(len(rows), dtype=bool)
        reasons = explain_some(
            self.density, table.take(rows), everything, self.config
        ).to_pylist()
        numbers = ["log_prob", "anomaly_score", "p_value", "severity"]
        ids = {name: table[name].take(rows).to_pylist() for name in self.job.carried}
        return [
            {
                "source": fragment.name,
                "row": fragment.first + row,
                "ids": {name: plain(values[k]) for name, values in ids.items()},
                **facts,
                "explanation": reasons[k],
            }
            for k, (row, facts) in enumerate(
                zip(
                    rows.to_pylist(),
                    scored.select(numbers).take(rows).to_pylist(),
                    strict=True,
                )
            )
        ]


class Finisher:
    """The second pass: adds q-values, flags, and explanations that lack.

    Args:
        job: The job.
        verdict: What all rows together said.
    """

    def __init__(self, job: Job, verdict: flagging.Verdict) -> None:
        self.job = job
        self.verdict = verdict
        self.density: TableDensity | None = None  # loaded when it is needed

    def __call__(self, fragment: Fragment) -> parts.Facts:
        """Writes the part of a fragment and its quarantine; its facts."""
        file = parts.name(fragment.index)
        scored, facts = read_part(storage.join(self.job.staged, file))
        rows = scored.num_rows
        flagged = self.verdict.flags(scored, fragment.index)
        q_value = self.verdict.q_value(scored)
        scored = put(scored, "q_value", optional(q_value, rows, pa.float64()))
        scored = put(scored, "is_anomaly", optional(flagged, rows, pa.bool_()))
        if self.lacks_explanations and flagged is not None and flagged.any():
            bad = np.empty(0, np.int64)
            for name in facts["beside"]:
                table, _ = read_part(storage.join(self.job.staged, name))
                bad = table["row"].to_numpy() - fragment.first
            scored = put(scored, "explanation", self.explain(fragment, flagged, bad))
        facts["anomalies"] = 0 if flagged is None else int(flagged.sum())
        for row in facts["strangest"]:
            p_value = row["p_value"]
            row["q_value"] = None
            if self.verdict.counts is not None:
                row["q_value"] = float(self.verdict.counts.q_value(np.array(p_value)))
        files = []
        for name in facts["beside"]:
            table, notes = read_part(storage.join(self.job.staged, name))
            files.append(parts.write(self.job.output, name, table, notes))
        entry = parts.write(self.job.output, file, scored, facts)
        return {**facts, "files": [entry, *files]}

    @property
    def lacks_explanations(self) -> bool:
        """Whether the first pass could not know which rows to explain."""
        config = self.job.config
        return config.explain == "flagged" and rule_of(config).kind != "threshold"

    def explain(
        self, fragment: Fragment, flagged: np.ndarray, bad: np.ndarray
    ) -> pa.Array:
        """Explanations of the flagged rows of a part, null elsewhere.

        Args:
            fragment: What the part was made of.
            flagged: The part's rows to explain, (n,).
            bad: Rows of the fragment that went to quarantine.
        """
        density = self.density = self.density or load(self.job.model)
        table = read(self.job, density, fragment)
        kept = np.setdiff1d(np.arange(table.num_rows), bad)
        table = table.take(pa.array(kept))
        return explain_some(density, table, flagged, self.job.config)


def read(job: Job, density: TableDensity, fragment: Fragment) -> pa.Table:
    """The columns of a fragment that are modelled or carried."""
    wanted = {*density.encoder.names, *job.carried}
    table = datasets.read(fragment, wanted)
    if table.num_rows != fragment.rows:
        raise ValueError(
            f"{fragment.path}: held {fragment.rows} rows in row groups "
            f"{fragment.row_groups} and now holds {table.num_rows}; do not change "
            "a dataset while it is scored"
        )
    return table


def read_part(path: str) -> tuple[pa.Table, parts.Facts]:
    """A file of the job, and the facts in its footer."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        file = pq.ParquetFile(source)
        facts = parts.read_facts(file.metadata)
        assert facts is not None  # or the first pass would have made it again
        return file.read(use_threads=False), facts


def rule_of(config: ScoreConfig) -> Rule:
    """Which rows are anomalies."""
    return Rule.of(config.threshold, config.fdr, config.budget)


def segments(density: TableDensity, config: ScoreConfig) -> list[dict[str, Any]]:
    """The segments that rows are compared within; [] if they are not."""
    if config.calibrate_by is None:
        return []
    return density.segments(config.calibrate_by, config.segment_rows)


def measure(density: TableDensity, table: pa.Table, config: ScoreConfig) -> pa.Table:
    """What the model says about the rows of `table`, each by itself."""
    return density.measure(
        table,
        statistic=config.statistic,
        calibrate_by=config.calibrate_by,
        segment_rows=config.segment_rows,
        missing=config.missing,
        explain_columns=config.explain_columns if config.explain == "all" else 0,
        column_log_prob=config.column_log_prob,
        precision=config.precision,
    )


def explain_some(
    density: TableDensity, table: pa.Table, which: np.ndarray, config: ScoreConfig
) -> pa.Array:
    """Explanations of the rows where `which` is true, null elsewhere."""
    return density.explain_some(
        table,
        which,
        config.statistic,
        config.explain_columns,
        missing=config.missing,
        precision=config.precision,
    )


def carried_columns(
    density: TableDensity, source: str, dataset: Dataset, id_columns: Sequence[str]
) -> list[str]:
    """The id and partition columns of the output.

    Raises:
        ValueError: There is no such column, the output has another of that name, or
            the model cannot read the dataset.
    """
    datasets.check_columns(dataset.schema, {"data.id": id_columns})
    check_readable(density, source, dataset.schema)
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

    def ordinary(row: dict[str, Any]) -> tuple[float, float]:
        return row["p_value"] or 0.0, -row["anomaly_score"]

    return {
        **{name: sum(facts[name] for facts in found) for name in counts},
        "strangest": sorted(strangest, key=ordinary)[:STRANGEST],
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
        "rule",
        "segments",
        "bad_files",
        "seconds",
        "rows_per_s",
    )
    return {"path": output, **{name: content[name] for name in told}, "done": done}


def plain(value: object) -> object:
    """A value of a cell as JSON can hold it."""
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
