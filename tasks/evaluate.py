"""How good a model is on the held-out test rows, and whether its probabilities hold."""

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.columns import PRESENT
from ar_models.conditionals import Conditionals
from ar_models.density import TableDensity
from ar_models.encoder import Encoded, TableEncoder
from ar_models.judgement import Judgement, log_probs
from ar_models.lists import ListColumn
from ar_models.ranking import optional
from tasks import baseline, figures, manifest, parts, segments, storage
from tasks.config import EvaluateConfig, Resources
from tasks.intervals import binned_distance, distance, half_width, interval
from tasks.models import load
from tasks.transforms import count, transforms

FORMAT = 4
"""Enters the job key; raised when the same job would give other figures."""

BASELINE = "independent"
"""Folder, within an evaluation, of the model of independent columns."""

ROWS = "rows"
"""Folder, within an evaluation, of what was found for each test row."""

EVALUATION = "evaluation.json"

PIT_BINS = 1000
"""Bins in which probability integral transforms are counted."""

BARS = 20
"""Bins in which they are written to evaluation.json."""

READ_ROWS = 16_384
"""Test rows that are read at a time."""

Floats = NDArray[np.float64]
Json = dict[str, Any]  # JSON-able values


def evaluate(
    model: str,
    prepared: str,
    output: str,
    config: EvaluateConfig,
    resources: Resources,
    *,
    overwrite: bool = False,
) -> Json:
    """Judges a model on the test rows of a prepared dataset.

    Writes evaluation.json, what was found for each row (rows/part-*.parquet, in the
    order of the test rows), the model of independent columns it is compared with, and
    figures. A killed run is completed by the same call and ends with the same figures.

    Args:
        model: Folder of a trained model.
        prepared: Folder of the prepared dataset.
        output: Folder to write; `{key}` in it stands for the job key.
        config: How to judge.
        resources: Where to compute.
        overwrite: Whether a folder with another job's output is replaced.

    Returns:
        `path`, `metrics` (by MLflow's names), `rows`, `done` (whether there was nothing
        to do), `seconds`, `rows_per_s`.

    Raises:
        ValueError: There are no test rows, or they lack a column of the model.
    """
    started = time.monotonic()
    about = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    density = load(model)
    fingerprint = density.info["fingerprints"]["model"]
    key = manifest.job_key(
        task="evaluate",
        format=FORMAT,
        model=fingerprint,
        calibration=summary_of(density),
        prepared=about["job_key"],
        config=config.model_dump(mode="json"),
    )
    folder = output.replace("{key}", key)
    finished = manifest.claim(folder, key, overwrite=overwrite)
    done = finished is not None
    if finished is None:
        pieces = test_pieces(prepared, about)
        segments.check(read_schema(pieces[0].path), config.segments, config.label)
        fit_baseline(density, prepared, about, config, folder)
        make = partial(Judge, model, config, folder, key)
        rows = storage.join(folder, ROWS)
        found, _ = parts.complete(
            make, pieces, rows, key, resources, what="evaluate: rows"
        )
        evaluation = summarise(density, found, read_rows(folder), config)
        storage.write_json(storage.join(folder, EVALUATION), evaluation)
        figures.draw(folder, evaluation, read_rows(folder))
        seconds = time.monotonic() - started
        finished = manifest.finish(
            folder,
            key,
            inputs={"prepared": about["job_key"]},
            model={"name": density.info.get("name"), "fingerprint": fingerprint},
            config=config.model_dump(mode="json"),
            rows_in=evaluation["rows"],
            rows_out=evaluation["rows"],
            rows_quarantined=0,
            rows_per_s=round(evaluation["rows"] / seconds, 1),
            files=[
                {**entry, "path": f"{ROWS}/{entry['path']}"}
                for facts in found
                for entry in facts["files"]
            ]
            + [manifest.describe(folder, EVALUATION, 0)],
        )
    evaluation = storage.read_json(storage.join(folder, EVALUATION))
    return {
        "path": folder,
        "metrics": metrics(evaluation),
        "rows": evaluation["rows"],
        "rows_per_s": finished["rows_per_s"],
        "done": done,
        "seconds": round(time.monotonic() - started, 3),
    }


def summary_of(density: TableDensity) -> str:
    """A text that differs where calibration scores do."""
    return manifest.job_key(
        **{name: float(scores.sum()) for name, scores in density.calibration.items()}
    )


@dataclass(frozen=True)
class TestFile:
    """A file of test rows, which becomes one part of what is found."""

    index: int
    path: str
    rows: int


def test_pieces(prepared: str, about: Mapping[str, Any]) -> list[TestFile]:
    """The files of test rows of a prepared dataset, given its manifest."""
    files = sorted(
        (entry["path"], entry["rows"])
        for entry in about["files"]
        if entry["path"].startswith("test/") and entry["rows"]
    )
    if not files:
        raise ValueError(
            f"{prepared}: has no test rows to judge a model on; give data.split.test a "
            "larger share"
        )
    return [
        TestFile(k, storage.join(prepared, path), rows)
        for k, (path, rows) in enumerate(files)
    ]


def fit_baseline(
    density: TableDensity,
    prepared: str,
    about: Mapping[str, Any],
    config: EvaluateConfig,
    folder: str,
) -> None:
    """Writes the model of independent columns, unless it stands there."""
    target = storage.join(folder, BASELINE)
    if storage.exists(storage.join(target, "model.json")):
        return
    x = baseline.training_rows(prepared, about, config.baseline_rows)
    model = baseline.fit(density.encoder.variables, x)
    with tempfile.TemporaryDirectory() as temporary:
        TableDensity(density.encoder, model).save(Path(temporary))
        for name in ("weights.safetensors", "model.json"):
            with storage.publish(storage.join(target, name)) as unfinished:
                unfinished.write_bytes((Path(temporary) / name).read_bytes())


class Judge:
    """Judges files of test rows with models that each actor loads once.

    Args:
        model: Folder of the model.
        config: How to judge.
        folder: Folder of the evaluation.
        key: The job key.
    """

    def __init__(
        self, model: str, config: EvaluateConfig, folder: str, key: str
    ) -> None:
        self.density = load(model)
        self.config = config
        self.independent = load(storage.join(folder, BASELINE))
        self.folder = folder
        self.key = key

    def __call__(self, file: TestFile) -> parts.Facts:
        """Writes the part of a file of test rows; its facts are sums over them."""
        rng = np.random.default_rng(file.index)
        tallies, tables = [], []
        more = [*self.config.segments, *filter(None, [self.config.label])]
        columns = list(dict.fromkeys([*self.density.columns, *more]))
        for table in read_batches(file.path, columns):
            for rows, encoded in self.density.batches(table):
                tally, found = self.judge(encoded, rng)
                tallies.append(tally)
                kept = segments.carried(rows, self.config.segments, self.config.label)
                for name, values in kept.items():
                    found = found.append_column(name, values)
                tables.append(found)
        facts: parts.Facts = {
            "job_key": self.key,
            **{name: sum_of(tally[name] for tally in tallies) for name in tallies[0]},
        }
        name = parts.name(file.index)
        table = pa.concat_tables(tables)
        entry = parts.write(storage.join(self.folder, ROWS), name, table, facts)
        return {**facts, "files": [entry]}

    def judge(
        self, encoded: Encoded, rng: np.random.Generator
    ) -> tuple[dict[str, NDArray[Any]], pa.Table]:
        """Sums over encoded rows, by column, and what was found for each row."""
        judgement = self.density.judge(encoded)
        independent = log_probs(self.independent.model, encoded)
        gain = judgement.log_prob - independent
        scores = judgement.contributions.sum(axis=1)
        reference = self.density.reference()
        p_value = None if reference is None else reference.rank(scores)[0]
        escaped = encoded.escapes != PRESENT
        tally = {
            "log_prob": judgement.log_prob.sum(axis=0),
            "independent": independent.sum(axis=0),
            "gain_squares": (gain**2).sum(axis=0),
            "escaped": escaped.sum(axis=0),
            "places": places(encoded.x, self.density.encoder).sum(axis=0),
            "pit": np.stack(
                [
                    self.counted(conditionals, judgement.x, escaped, rng)
                    for conditionals in self.in_all_orderings(judgement)
                ]
            ),
        }
        found = {
            "log_prob": judgement.log_prob.sum(axis=1),
            "independent_log_prob": independent.sum(axis=1),
            "anomaly_score": scores,
            "p_value": optional(p_value, len(scores), pa.float64()),
        }
        return tally, pa.table(found)

    def in_all_orderings(self, judgement: Judgement) -> Iterator[Conditionals]:
        """The conditionals of a batch, one ordering of the columns after the other."""
        yield judgement.conditionals
        for which in range(1, self.density.model.orderings):
            with torch.inference_mode():
                yield self.density.model.conditionals(judgement.x, which)

    def counted(
        self,
        conditionals: Conditionals,
        x: Tensor,
        escaped: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """The columns' transforms in one ordering, in bins, (columns, `PIT_BINS`)."""
        variables = self.density.encoder.variables
        u = transforms(conditionals, x, variables, rng.random(escaped.shape))
        return np.stack(
            [count(c[~e], PIT_BINS) for c, e in zip(u.T, escaped.T, strict=True)]
        )


def read_schema(path: str) -> pa.Schema:
    """The schema of a Parquet file."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        return pq.read_schema(source)


def places(x: NDArray[np.float32], encoder: TableEncoder) -> NDArray[np.int64]:
    """Of each row, how many values each column holds: (n, columns).

    One, or as many as a list that did not escape has places.
    """
    counts = np.ones((len(x), len(encoder.columns)), np.int64)
    for j, column in enumerate(encoder.columns):
        if isinstance(column, ListColumn):
            own = x[:, encoder.span(j)][:, column.first :]
            present = ~np.isnan(own.reshape(len(x), column.places, column.width))
            counts[:, j] = present.any(axis=2).sum(axis=1)
    return counts


def read_batches(path: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The columns of a Parquet file, `READ_ROWS` rows at a time."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as source:
        for batch in pq.ParquetFile(source).iter_batches(READ_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def sum_of(arrays: Iterator[NDArray[Any]]) -> list[Any]:
    """The sum of arrays, as JSON holds it."""
    total: list[Any] = np.sum(list(arrays), axis=0).tolist()
    return total


def read_rows(folder: str) -> pa.Table:
    """What an evaluation found for each test row, in their order.

    Returns:
        log_prob, independent_log_prob, anomaly_score (nats), p_value, and, where asked
        for, segments and label.
    """
    rows = storage.join(folder, ROWS)
    filesystem, inner = storage.resolve(rows)
    names = storage.list_files(rows)
    paths = [f"{inner}/{name}" for name in names]
    return pa.concat_tables(
        [pq.read_table(path, filesystem=filesystem) for path in paths]
    )


def summarise(
    density: TableDensity,
    found: Sequence[parts.Facts],
    rows: pa.Table,
    config: EvaluateConfig,
) -> Json:
    """The content of evaluation.json; likelihoods in nats, per row.

    `dim`, by which bits are divided, is the mean number of modelled values: columns,
    and the places of lists.
    """
    total = {
        name: np.sum([facts[name] for facts in found], axis=0)
        for name in (
            "log_prob",
            "independent",
            "gain_squares",
            "escaped",
            "places",
            "pit",
        )
    }
    count = len(rows)
    means = {name: sums / count for name, sums in total.items()}
    gain = means["log_prob"] - means["independent"]
    variance = np.maximum(means["gain_squares"] - gain**2, 0)
    half = half_width(variance, count, config.confidence)
    log_prob = rows["log_prob"].to_numpy()
    independent = rows["independent_log_prob"].to_numpy()
    nll = float(-log_prob.mean())
    dim = float(means["places"].sum())
    p_values = rows["p_value"].to_numpy() if density.calibration else None
    pooled = total["pit"].sum(axis=0)
    return {
        "model": density.info["fingerprints"]["model"],
        "rows": count,
        "dim": dim,
        "confidence": config.confidence,
        "is_bound": density.model.is_bound,  # then likelihoods are at least as good
        "nll": nll,
        "nll_interval": interval(-log_prob, config.confidence, config.bootstrap),
        "bits_per_dim": nll / max(dim, 1) / math.log(2),
        "independent_nll": float(-independent.mean()),
        "gain": float((log_prob - independent).mean()),
        "gain_interval": interval(
            log_prob - independent, config.confidence, config.bootstrap
        ),
        "calibration_rows": len(density.calibration.get("log_prob", ())),
        "p_value_ks": None if p_values is None else distance(p_values),
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "nll": float(-means["log_prob"][j]),
                "nll_per_place": float(
                    -total["log_prob"][j] / max(1, total["places"][j])
                ),
                "independent_nll": float(-means["independent"][j]),
                "gain": float(gain[j]),
                "gain_interval": [float(gain[j] - half[j]), float(gain[j] + half[j])],
                "escaped": int(total["escaped"][j]),
                "ks": binned_distance(pooled[j]),
                "ks_by_ordering": [binned_distance(pit[j]) for pit in total["pit"]],
                "pit": pooled[j].reshape(BARS, -1).sum(axis=1).tolist(),
            }
            for j, column in enumerate(density.encoder.columns)
        ],
        "segments": [
            {"column": column, "values": by_segment(rows, column, config)}
            for column in config.segments
        ],
        "detection": None
        if config.label is None
        else segments.detection(
            rows["anomaly_score"].to_numpy(),
            rows[segments.LABEL],
            config.budget,
            confidence=config.confidence,
            resamples=config.bootstrap,
        ),
    }


def by_segment(rows: pa.Table, column: str, config: EvaluateConfig) -> list[Json]:
    """The likelihoods in each segment of a column, the largest segment first."""
    log_prob = rows["log_prob"].to_numpy()
    gain = log_prob - rows["independent_log_prob"].to_numpy()
    return [
        {
            "value": value,
            "rows": len(own),
            "nll": float(-log_prob[own].mean()),
            "nll_interval": interval(
                -log_prob[own], config.confidence, config.bootstrap
            ),
            "gain": float(gain[own].mean()),
            "gain_interval": interval(gain[own], config.confidence, config.bootstrap),
        }
        for value, own in segments.members(rows, column)
    ]


def metrics(evaluation: Json) -> dict[str, float]:
    """The main figures of an evaluation by MLflow's names."""
    worst = max(column["ks"] for column in evaluation["columns"])
    found = {
        "test/nll": evaluation["nll"],
        "test/bits_per_dim": evaluation["bits_per_dim"],
        "test/independent_nll": evaluation["independent_nll"],
        "test/gain": evaluation["gain"],
        "test/calibration_ks": worst,
    }
    if evaluation["p_value_ks"] is not None:
        found["test/p_value_ks"] = evaluation["p_value_ks"]
    detection = evaluation.get("detection") or {}
    for name in ("auroc", "auprc", "precision", "recall"):
        if detection.get(name) is not None:
            found[f"test/{name}"] = detection[name]
    for segmented in evaluation.get("segments", ()):
        for value in segmented["values"]:
            place = map(segments.metric_name, (segmented["column"], value["value"]))
            found["/".join(["test/segment_nll", *place])] = value["nll"]
    return found
