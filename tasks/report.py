"""One page about a model: what it learned from, how good it is, what is strange."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ar_models import judgement
from ar_models.density import TableDensity
from ar_models.explanation import short, text
from ar_models.ranking import Counts, Rule, flags
from tasks import evaluate, figures, manifest, segments, storage
from tasks.config import ScoreConfig
from tasks.gate import as_table, read_checks
from tasks.models import load
from tasks.page import PAGE, STYLE

FORMAT = 4
"""Enters the job key; raised when the same model would give another page."""

REPORT = "report.html"

COMPARED, COMPARED_VALUES = 4096, 2**22
"""Test rows and synthetic rows whose distributions are shown side by side, and the
values of their variables, at most."""

FILES = 64
"""Files of test rows that those are taken from, evenly chosen, if there are more."""

STRANGEST = 10
"""Test rows that are explained."""

BLAMED = 4
"""Columns that an explanation names, at most."""

DEFAULT = ScoreConfig()

Json = dict[str, Any]  # JSON values


def report(
    model: str,
    prepared: str,
    evaluation: str,
    output: str,
    *,
    name: str | None = None,
    gate: str | None = None,
    config: ScoreConfig = DEFAULT,
) -> str:
    """Writes report.html, a page that needs nothing else; its path.

    A page that says the same already is left as it is.

    Args:
        model: Folder of the trained model.
        prepared: Folder of the prepared dataset.
        evaluation: Folder of the model's evaluation.
        output: Folder to write to, which may be the evaluation's.
        name: What the page is about; the model's name if it has one.
        gate: Folder of what the gate found, if it was asked.
        config: Says which rows are anomalies.
    """
    about = {
        name: storage.read_json(storage.join(folder, manifest.MANIFEST))
        for name, folder in (
            ("model", model),
            ("prepared", prepared),
            ("evaluation", evaluation),
        )
    }
    keys = {name: content["job_key"] for name, content in about.items()}
    if gate is not None:
        judged = storage.read_json(storage.join(gate, manifest.MANIFEST))
        keys["gate"] = judged["job_key"]
    rule = Rule.of(config.threshold, config.fdr, config.budget)
    key = manifest.job_key(
        task="report", format=FORMAT, name=name, rule=asdict(rule), **keys
    )
    path = storage.join(output, REPORT)
    if storage.exists(path) and read_key(path) == key:
        return path
    density = load(model)
    found = storage.read_json(storage.join(evaluation, evaluate.EVALUATION))
    strange = strangest(about["prepared"], prepared, evaluation)
    page = render(
        key=key,
        name=name or density.info.get("name") or "the model",
        about=about,
        found=found,
        tiles=tiles(found),
        columns=column_table(density, found),
        left_out=[
            {"name": left.name, "type": left.type, "reason": left.reason}
            for left in density.encoder.left_out
        ],
        images=images(density, about, prepared, evaluation, found, rule, strange),
        checks=[] if gate is None else as_table(read_checks(gate)),
        strangest=[
            explained(density, strange.slice(k, 1)) for k in range(len(strange))
        ],
        facts=facts(density, about),
        statistic=judgement.DEFAULT,
    )
    with storage.publish(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def read_key(path: str) -> str | None:
    """The job key of a page, from its second line."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_stream(inner) as stream:
        lines = stream.read(200).decode("utf-8", "ignore").split("\n")
    start, end = "<!-- job ", " -->"
    second = lines[1] if len(lines) > 1 else ""
    if not (second.startswith(start) and second.endswith(end)):
        return None
    return second.removeprefix(start).removesuffix(end)


def render(**content: Any) -> str:  # whatever the page shows
    """The page; everything that comes from data is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["nats"] = nats
    environment.filters["count"] = lambda number: f"{number:,}".replace(",", " ")
    return environment.from_string(PAGE).render(content, style=STYLE)


def nats(value: float) -> str:
    """A number of nats with as many decimals as matter."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def tiles(found: Json) -> list[Json]:
    """The main figures: name, value and what it means."""
    low, high = found["nll_interval"]
    worse, better = found["gain_interval"]
    confidence = f"{found['confidence']:.0%}"
    limit = "at most " if found["is_bound"] else ""
    shown = [
        {
            "name": "Test NLL",
            "value": f"{limit}{nats(found['nll'])} nats",
            "remark": f"per row; {confidence} interval {nats(low)} to {nats(high)}",
        },
        {
            "name": "Gain",
            "value": f"{nats(found['gain'])} nats",
            "remark": "per row over independent columns; "
            f"{nats(worse)} to {nats(better)}",
        },
        {
            "name": "Bits per dimension",
            "value": f"{found['bits_per_dim']:.3f}",
            "remark": "columns, pixels and places of sequences: "
            f"{found['dim']:.0f} per row",
        },
    ]
    if found["p_value_ks"] is not None:
        shown.append(
            {
                "name": "p-values",
                "value": f"{found['p_value_ks']:.3f}",
                "remark": "KS distance from uniform, "
                f"{found['calibration_rows']} calibration rows",
            }
        )
    detection = found["detection"]
    if detection and detection["auroc"] is not None:
        low, high = detection["auroc_interval"]
        shown.append(
            {
                "name": "AUROC",
                "value": f"{detection['auroc']:.3f}",
                "remark": f"{low:.3f} to {high:.3f}; {detection['positives']} labelled "
                f"anomalies among {detection['rows']} rows",
            }
        )
    return shown


def column_table(density: TableDensity, found: Json) -> list[Json]:
    """What each modelled column, or block of pixels, is and how well predicted."""
    rows: dict[str, Json] = {
        column.name: {**judged, "type": short(column.type)}
        for column, judged in zip(
            density.encoder.columns, found["columns"], strict=True
        )
    }
    for image in figures.blocks(density):
        of_image = [rows.pop(name) for name in image.columns]
        first, last = of_image[0], of_image[-1]
        summed = ("nll", "independent_nll", "gain", "escaped")
        rows[first["name"]] = {
            **first,
            "name": f"{first['name']} … {last['name']}",
            "kind": f"{first['kind']} pixels, {' x '.join(map(str, image.shape[:2]))}",
            **{key: sum(row[key] for row in of_image) for key in summed},
            "ks": max(row["ks"] for row in of_image),
        }
    return list(rows.values())


def facts(density: TableDensity, about: Json) -> list[tuple[str, str]]:
    """What the model was made of and with: names and values."""
    fingerprints = density.info["fingerprints"]
    inputs = about["prepared"].get("inputs", {})
    rows = {
        "dataset": inputs.get("dataset"),
        "prepared dataset": about["prepared"]["job_key"],
        **fingerprints,
        "training job": about["model"]["job_key"],
        "evaluation": about["evaluation"]["job_key"],
        "trained": about["model"]["finished"],
        "chainrule": version("chainrule"),
        **density.info["versions"],
    }
    if "config" in about["model"]:
        rows["configuration"] = json.dumps(about["model"]["config"])
    return [(name, str(value)) for name, value in rows.items() if value]


# --- figures --------------------------------------------------------------------------


def images(
    density: TableDensity,
    about: Json,
    prepared: str,
    evaluation: str,
    found: Json,
    rule: Rule,
    strange: pa.Table,
) -> dict[str, str]:
    """The page's figures as data URLs, by name."""
    rows = evaluate.read_rows(evaluation)
    values = rows["anomaly_score"].to_numpy()
    threshold = first_anomaly(density, rows, rule)
    real = some_test_rows(density, about["prepared"], prepared)
    synthetic = density.sample(len(real), seed=0)
    (shown, drawn_rows), names = figures.plain([real, synthetic], density)
    with matplotlib.rc_context(figures.STYLE):
        drawn = {
            "calibration": figures.calibration(found["columns"]),
            "scores": figures.scores(values)
            if threshold is None
            else figures.scores_with_threshold(
                values, threshold, f"{rule.kind} {rule.value:g}"
            ),
        }
        pixels = {name for image in figures.blocks(density) for name in image.columns}
        kept = [column for column in found["columns"] if column["name"] not in pixels]
        if kept:
            drawn["gains"] = figures.gains(kept)
        if names:
            drawn["marginals"] = figures.marginals(shown, drawn_rows, names)
        for k, image in enumerate(figures.blocks(density)):
            drawn[f"pixels{k}"] = figures.of_pixels(found["columns"], image)
        for k, image in enumerate(density.encoder.images):
            drawn[f"images{k}"] = figures.images([real, synthetic], image)
            drawn[f"strange{k}"] = figures.strange_images(strange, image)
        for k, segmented in enumerate(found["segments"]):
            drawn[f"segments{k}"] = figures.intervals(
                segmented["values"], "nll", "NLL, nats per row"
            )
        if found["detection"] and found["detection"]["auroc"] is not None:
            known = rows[segments.LABEL].is_valid().to_numpy()
            labels = rows[segments.LABEL].filter(pa.array(known))
            drawn["detection"] = figures.detection(values[known], labels.to_numpy())
        if density.calibration:
            drawn["p_values"] = figures.p_values(rows["p_value"].to_numpy())
        if about["model"].get("history"):
            drawn["learning"] = figures.learning_curve(about["model"]["history"])
        return {name: figures.data_url(figure) for name, figure in drawn.items()}


def first_anomaly(density: TableDensity, rows: pa.Table, rule: Rule) -> float | None:
    """The least anomaly score of an anomaly, were the test rows to be scored.

    A severity belongs to a score of the calibration rows; an fdr and a budget depend on
    what is scored. None where nothing is an anomaly.
    """
    reference, values = density.reference(), rows["anomaly_score"].to_numpy()
    if rule.kind == "threshold":
        if reference is None:
            return None
        return float(np.quantile(reference.scores, rule.value / 100))
    ranked = {}
    if reference is not None:
        p_value = rows["p_value"].to_numpy()
        ranked = {"p_value": p_value, "q_value": Counts.of(p_value).q_value(p_value)}
    flagged = flags(rule, values, ranked)
    if flagged is None or not flagged.any():
        return None
    return float(values[flagged].min())


def some_test_rows(density: TableDensity, about: Json, prepared: str) -> pa.Table:
    """Some test rows, chosen at random from evenly chosen files."""
    pieces = evaluate.test_pieces(prepared, about)
    pieces = pieces[:: math.ceil(len(pieces) / FILES)]
    most = min(COMPARED, max(COMPARED_VALUES // density.model.dim, 1))
    share = min(1.0, most / sum(piece.rows for piece in pieces))
    rng = np.random.default_rng(0)
    tables = []
    for piece in pieces:
        chosen = np.sort(rng.permutation(piece.rows)[: math.ceil(share * piece.rows)])
        tables.append(read(piece.path).select(density.columns).take(pa.array(chosen)))
    return pa.concat_tables(tables)


def read(path: str) -> pa.Table:
    """A Parquet file, local or S3."""
    filesystem, inner = storage.resolve(path)
    return pq.read_table(inner, filesystem=filesystem, partitioning=None)


# --- strange rows ---------------------------------------------------------------------


def strangest(about: Json, prepared: str, evaluation: str) -> pa.Table:
    """The strangest test rows, the strangest first."""
    scores = evaluate.read_rows(evaluation)["anomaly_score"].to_numpy()
    order = np.argsort(-scores, kind="stable")[:STRANGEST]
    pieces = evaluate.test_pieces(prepared, about)
    ends = np.cumsum([piece.rows for piece in pieces])
    rows = []
    for place in order.tolist():
        file = int(np.searchsorted(ends, place, side="right"))
        first = int(ends[file]) - pieces[file].rows
        rows.append(read(pieces[file].path).slice(place - first, 1))
    return pa.concat_tables(rows)


def explained(density: TableDensity, row: pa.Table) -> Json:
    """A row's score, with the columns to blame in words."""
    (scored,) = density.score(row, explain_columns=BLAMED).to_pylist()
    (cells,) = row.to_pylist()
    return {
        "score": scored["anomaly_score"],
        "p_value": scored["p_value"],
        "severity": scored["severity"],
        "reasons": reasons(scored["explanation"]),
        "ids": {n: text(v) for n, v in cells.items() if is_id(n, density)},
        "cells": {n: text(v) for n, v in cells.items()},
    }


def is_id(name: str, density: TableDensity) -> bool:
    """Whether a column is only carried: neither modelled nor left out."""
    left = {column.name for column in density.encoder.left_out}
    return name not in density.columns and name not in left


def reasons(explanation: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The entries of an explanation that make a row stranger, and always the first."""
    return [
        dict(entry)
        for place, entry in enumerate(explanation)
        if place == 0 or entry["contribution"] > 0.5
    ]
