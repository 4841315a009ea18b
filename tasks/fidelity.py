"""How much synthetic rows are like real ones that the model has not seen.

Real rows are the train rows and the held-out test rows of a prepared dataset. Each
measure is also taken of train rows in place of synthetic ones, where that makes sense:
better than that nothing can be expected to be.
"""

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ar_models import cells
from ar_models.columns import MISSING, OUTSIDE, PRESENT, UNSEEN
from ar_models.density import TableDensity
from ar_models.lists import ListColumn
from tasks import datasets, fidelity_page, manifest, storage
from tasks.config import FidelityConfig
from tasks.intervals import interval
from tasks.models import check_readable, fingerprint, load
from tasks.summaries import summarised

logger = logging.getLogger(__name__)

FORMAT = 2
"""Enters the job key; raised when the same job would give other figures."""

FIDELITY, PAGE = "fidelity.json", "fidelity.html"

AUTO = "auto"
"""In place of a path: draw the synthetic rows now."""

BINS = 10
"""Quantile bins of a number, and categories that are told apart."""

PAIRS = 5000
"""Pairs of columns that are compared, at most; of more, so many drawn at random."""

CODES = 254
"""Categories that gradient boosting tells apart."""

NEIGHBOURS = 10_000
"""Rows of each table between which distances are taken, at most."""

TOGETHER = 512
"""Rows whose distances to all others are held at once."""

FEW = 64
"""Distinct values of columns between which a dependence is looked for."""

SEEN = 20
"""Train rows with a value before what follows from it counts as known."""

SCORED = 10_000
"""Synthetic and held-out rows that the model itself scores, at most."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Json = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Tables:
    """What is compared: tables of the same columns.

    Attributes:
        train: Real rows that the model learned from.
        held_out: Real rows that it did not.
        synthetic: Drawn rows.
    """

    train: pa.Table
    held_out: pa.Table
    synthetic: pa.Table


def fidelity(
    model: str,
    prepared: str,
    output: str,
    config: FidelityConfig,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> Json:
    """Compares synthetic rows with the train and test rows of a prepared dataset.

    Writes fidelity.json and fidelity.html, a page that needs nothing else.

    Args:
        model: Folder of the model; its encoder says what the columns are.
        prepared: Folder of the dataset that it was trained on.
        output: Folder to write; `{key}` in it stands for the job key.
        config: What is compared and how.
        name: What the page is about.
        overwrite: Whether a folder with another job's output is replaced.

    Returns:
        path, page, metrics (by MLflow's names), seconds and done.

    Raises:
        ValueError: There are no test rows, the synthetic rows lack a column, or there
            is no such target.
    """
    began = time.monotonic()
    density = load(model)
    about = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    check_target(density, config.target)
    source = None
    if config.samples not in (None, AUTO):
        source = open_samples(density, str(config.samples), config.rows)
    key = manifest.job_key(
        task="fidelity",
        format=FORMAT,
        name=name,
        model=fingerprint(density),
        prepared=about["job_key"],
        samples=source.fingerprint if source else AUTO,
        config=config.model_dump(mode="json", exclude={"samples"}),
    )
    folder = output.replace("{key}", key)
    finished = manifest.claim(folder, key, overwrite=overwrite)
    done = finished is not None
    if finished is None:
        train = some_rows(prepared, about, "train", density.columns, config.rows)
        tables = Tables(
            train,
            some_rows(prepared, about, "test", density.columns, config.rows),
            some_of(source, density.columns, config.rows)
            if source
            else drawn(density, len(train), config.seed),
        )
        found = measure(tables, density, config)
        storage.write_json(storage.join(folder, FIDELITY), found)
        page = fidelity_page.render(
            key,
            name or "the model",
            density,
            tables.held_out,
            tables.synthetic,
            found,
        )
        with storage.publish(storage.join(folder, PAGE)) as unfinished:
            unfinished.write_text(page, encoding="utf-8")
        manifest.finish(
            folder,
            key,
            inputs={"prepared": about["job_key"], "samples": config.samples or AUTO},
            model={"fingerprint": fingerprint(density)},
            config=config.model_dump(mode="json"),
            files=[manifest.describe(folder, name, 0) for name in (FIDELITY, PAGE)],
        )
    found = storage.read_json(storage.join(folder, FIDELITY))
    return {
        "path": folder,
        "page": storage.join(folder, PAGE),
        "metrics": metrics(found),
        "rows": found["rows"],
        "done": done,
        "seconds": round(time.monotonic() - began, 3),
    }


def drawn(density: TableDensity, count: int, seed: int) -> pa.Table:
    """Rows that the model draws now."""
    return density.sample(count, seed=seed).select(density.columns)


def check_target(density: TableDensity, target: str | None) -> None:
    """Raises ValueError where the target is no modelled column of single values."""
    columns = {column.name: column for column in density.encoder.columns}
    column = None if target is None else columns.get(target)
    if isinstance(column, ListColumn):
        raise ValueError(
            f"fidelity.target: {target!r} holds a {column.kind} per row, which no "
            "classifier is trained to predict; name a column of single values"
        )
    if target is not None and column is None:
        raise ValueError(
            f"fidelity.target: {target!r} is no modelled column; those are "
            f"{', '.join(density.columns)}"
        )


# --- rows -----------------------------------------------------------------------------


def open_samples(density: TableDensity, path: str, rows: int) -> datasets.Dataset:
    """The dataset of synthetic rows, which has the modelled columns."""
    dataset = datasets.open_dataset(path, rows_per_fragment=max(1, rows))
    check_readable(density, path, dataset.schema)
    return dataset


def some_of(dataset: datasets.Dataset, columns: Sequence[str], most: int) -> pa.Table:
    """Up to `most` rows, evenly chosen from all fragments."""
    share = min(1.0, most / dataset.rows)
    parts = []
    for fragment in dataset.fragments:
        table = datasets.read(fragment, columns).select(list(columns))
        parts.append(chosen(table, share, fragment.index))
    return pa.concat_tables(parts).slice(0, most)


def some_rows(
    prepared: str, about: Json, split: str, columns: Sequence[str], most: int
) -> pa.Table:
    """Up to `most` rows of a split of a prepared dataset, evenly chosen.

    Raises:
        ValueError: It has none.
    """
    files = sorted(
        (entry["path"], entry["rows"])
        for entry in about["files"]
        if entry["path"].startswith(f"{split}/") and entry["rows"]
    )
    if not files:
        raise ValueError(f"{prepared}: has no {split} rows to compare with")
    share = min(1.0, most / sum(rows for _, rows in files))
    parts = []
    for k, (name, _) in enumerate(files):
        filesystem, inner = storage.resolve(storage.join(prepared, name))
        table = pq.read_table(
            inner, filesystem=filesystem, columns=list(columns), partitioning=None
        )
        parts.append(chosen(table, share, k))
    return pa.concat_tables(parts).slice(0, most)


def chosen(table: pa.Table, share: float, seed: int) -> pa.Table:
    """A share of the rows, drawn at random, in their order."""
    if share >= 1:
        return table
    count = int(np.ceil(share * len(table)))
    rng = np.random.default_rng(seed)
    return table.take(pa.array(np.sort(rng.permutation(len(table))[:count])))


# --- the measures ---------------------------------------------------------------------


def measure(tables: Tables, density: TableDensity, config: FidelityConfig) -> Json:
    """All measures of synthetic rows; the content of fidelity.json.

    Args:
        tables: What is compared.
        density: The model, for support and for its own log-probabilities.
        config: The target and the confidence.
    """
    each = (tables.train, tables.held_out, tables.synthetic)
    plain, names = summarised(each, density.encoder)
    shown = Tables(*plain)
    found = compare(shown, config.target)
    escapes = density.encoder.escapes(tables.synthetic)
    logger.info("fidelity: measured %d synthetic rows", len(tables.synthetic))
    return {
        "rows": {
            "train": len(tables.train),
            "held_out": len(tables.held_out),
            "synthetic": len(tables.synthetic),
        },
        "target": config.target,
        "summaries": names,
        **found,
        "support": support(tables, density.columns, escapes, broken_dependences(shown)),
        "log_prob": own_log_prob(tables, density, config),
    }


def compare(tables: Tables, target: str | None = None) -> Json:
    """The measures that need no model, as `measure` gives them."""
    held_out, synthetic = tables.held_out, tables.synthetic
    one, two = accuracies(held_out, synthetic)
    ceiling_one, ceiling_two = accuracies(held_out, tables.train)
    return {
        "univariate": {
            "synthetic": float(np.mean(list(one.values()))),
            "train": float(np.mean(list(ceiling_one.values()))),
            "columns": one,
        },
        "bivariate": {
            "synthetic": mean_or_one(two),
            "train": mean_or_one(ceiling_two),
            "worst": [
                {"columns": list(pair), "accuracy": value}
                for pair, value in sorted(two.items(), key=lambda item: item[1])[:5]
            ],
        },
        "two_sample_auc": {
            "synthetic": two_sample_auc(tables.train, synthetic),
            "held_out": two_sample_auc(tables.train, held_out),
        },
        "downstream": downstream(tables, target) if target else None,
        "closest": closest(tables),
    }


def mean_or_one(accuracies: Mapping[tuple[str, str], float]) -> float:
    """The mean over pairs of columns; 1 if there is no pair."""
    return float(np.mean(list(accuracies.values()))) if accuracies else 1.0


def accuracies(
    reference: pa.Table, other: pa.Table
) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """1 minus the total variation of each column, and of each pair of columns.

    A number is divided at the reference's deciles; of categories the ten commonest
    in the reference are told apart. Nulls are a value of their own.
    """
    names = reference.column_names
    pairs = list(itertools.combinations(names, 2))
    if len(pairs) > PAIRS:
        rng = np.random.default_rng(0)
        pairs = [pairs[k] for k in sorted(rng.permutation(len(pairs))[:PAIRS])]
    codes = {name: binned(reference[name], other[name]) for name in names}
    one = {name: 1 - total_variation(*codes[name]) for name in names}
    width = BINS + 2
    two = {
        (a, b): 1
        - total_variation(
            codes[a][0] * width + codes[b][0], codes[a][1] * width + codes[b][1]
        )
        for a, b in pairs
    }
    return one, two


def binned(reference: pa.ChunkedArray, other: pa.ChunkedArray) -> tuple[Codes, Codes]:
    """Codes of two columns, 0 … BINS + 1.

    The last is null, and of categories the one before it is any rarer one.
    """
    left, right = numbers(reference), numbers(other)
    if left is None or right is None:
        a, b = words(reference, other, BINS)
        return np.where(a < 0, BINS + 1, a), np.where(b < 0, BINS + 1, b)
    finite = left[np.isfinite(left)]
    levels = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(finite, levels)) if len(finite) else np.zeros(0)
    return _bin(left, edges), _bin(right, edges)


def _bin(values: Floats, edges: Floats) -> Codes:
    codes = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), BINS + 1, codes)


def total_variation(a: Codes, b: Codes) -> float:
    """Half the sum of the differences between shares of codes."""
    length = int(max(a.max(initial=0), b.max(initial=0))) + 1
    one = np.bincount(a, minlength=length) / max(len(a), 1)
    two = np.bincount(b, minlength=length) / max(len(b), 1)
    return float(np.abs(one - two).sum() / 2)


def numbers(array: pa.ChunkedArray) -> Floats | None:
    """A column of numbers or moments, NaN where null; None for other types."""
    kind = cells.plain(array.type)
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_temporal(kind)
    ):
        return None
    array = cells_of(array, kind)
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    values = array.cast(pa.float64(), safe=False)
    return np.asarray(pc.fill_null(values, np.nan).to_numpy())


def cells_of(array: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column's values, however they are encoded."""
    return array if array.type == kind else array.cast(kind)


def words(
    reference: pa.ChunkedArray, other: pa.ChunkedArray, most: int
) -> tuple[Codes, Codes]:
    """Codes of categories by their frequency in the reference; -1 where null.

    The `most` commonest are told apart, all others have the code `most`.
    """
    left, right = (text(array) for array in (reference, other))
    counts = pc.value_counts(left.drop_null()).to_pylist()
    ranked = sorted(counts, key=lambda entry: (-entry["counts"], entry["values"]))
    known = pa.array([entry["values"] for entry in ranked[:most]], pa.string())
    return _codes(left, known, most), _codes(right, known, most)


def _codes(array: pa.ChunkedArray, known: pa.Array, most: int) -> Codes:
    places = pc.fill_null(pc.index_in(array, value_set=known), most)
    nulls = array.is_null()
    return np.asarray(pc.if_else(nulls, -1, places).to_numpy(), np.int64)


def text(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of categories as strings."""
    kind = cells.plain(array.type)
    array = cells_of(array, kind)
    if cells.family(kind) == "bytes":
        values = [None if v is None else v.hex() for v in array.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])
    return array.cast(pa.string())


@dataclass(frozen=True)
class Features:
    """Tables as gradient boosting takes them.

    Attributes:
        values: An array (rows, columns) for each table; NaN where null.
        categorical: Which columns hold codes, (columns,).
    """

    values: list[Floats]
    categorical: list[bool]


def features(tables: Sequence[pa.Table], columns: Sequence[str]) -> Features:
    """The columns of some tables; codes follow the frequencies in the first one."""
    values: list[list[Floats]] = [[] for _ in tables]
    categorical = []
    for name in columns:
        each = [numbers(table[name]) for table in tables]
        is_word = any(array is None for array in each)
        categorical.append(is_word)
        for k, table in enumerate(tables):
            if is_word:
                _, codes = words(tables[0][name], table[name], CODES)
                column = np.where(codes < 0, np.nan, codes.astype(np.float64))
            else:
                column = np.asarray(each[k])
                column = np.where(np.isfinite(column), column, np.nan)
            values[k].append(column)
    return Features([np.stack(columns, axis=1) for columns in values], categorical)


def two_sample_auc(real: pa.Table, other: pa.Table) -> float:
    """How well gradient boosting tells two tables apart: 0.5 is not at all.

    Three folds of equally many rows of both.
    """
    count = min(len(real), len(other))
    rng = np.random.default_rng(0)
    both = [
        table.take(pa.array(rng.permutation(len(table))[:count]))
        for table in (real, other)
    ]
    seen = features(both, real.column_names)
    x = np.concatenate(seen.values)
    y = np.repeat([0, 1], count)
    model = HistGradientBoostingClassifier(
        categorical_features=seen.categorical, random_state=0
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    share = cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(y, share))


def downstream(tables: Tables, target: str) -> Json:
    """How well the target is predicted on held-out rows after learning from each table.

    The area under the ROC curve (the mean over one class against the rest) of
    categories, R² of numbers; from as many train as synthetic rows.
    """
    count = min(len(tables.train), len(tables.synthetic))
    learned = {"train": tables.train, "synthetic": tables.synthetic}
    rng = np.random.default_rng(0)
    found: Json = {}
    for name, table in learned.items():
        part = table.take(pa.array(rng.permutation(len(table))[:count]))
        found[name] = prediction(part, tables.held_out, target)
    return {"target": target, "measure": measure_of(tables.train[target]), **found}


def measure_of(target: pa.ChunkedArray) -> str:
    """By what predictions of a column are judged."""
    values = numbers(target)
    return "auc" if values is None or len(np.unique(values)) <= BINS else "r2"


def prediction(train: pa.Table, test: pa.Table, target: str) -> float:
    """The quality of predictions of `target` on `test` after learning from `train`."""
    train, test = (t.filter(t[target].is_valid()) for t in (train, test))
    others = [name for name in train.column_names if name != target]
    seen = features([train, test], others)
    settings = {"categorical_features": seen.categorical, "random_state": 0}
    if measure_of(test[target]) == "r2":
        values = [numbers(t[target]) for t in (train, test)]
        model = HistGradientBoostingRegressor(**settings)
        predicted = model.fit(seen.values[0], values[0]).predict(seen.values[1])
        return float(r2_score(values[1], predicted))
    y, truth = (np.asarray(text(t[target]).to_pylist(), object) for t in (train, test))
    classes = np.unique(y.astype(str))
    if len(classes) < 2:
        return 0.5  # nothing was learned
    classifier = HistGradientBoostingClassifier(**settings)
    shares = classifier.fit(seen.values[0], y.astype(str)).predict_proba(seen.values[1])
    each = [
        roc_auc_score(truth == name, shares[:, k])
        for k, name in enumerate(classifier.classes_)
        if 0 < (truth == name).sum() < len(truth)
    ]
    return float(np.mean(each)) if each else 0.5


def closest(tables: Tables) -> Json:
    """Whether synthetic rows are nearer to train rows than to as many held-out ones.

    Without memory of the train rows the share is 0.5. Numbers are compared by their
    ranks among the train rows, from 0 to 1; categories and nulls that differ have the
    distance 1. Of equal distances half counts.
    """
    size = min(len(tables.train), len(tables.held_out), NEIGHBOURS)
    rng = np.random.default_rng(0)
    picked = [
        table.take(pa.array(rng.permutation(len(table))[:count]))
        for table, count in (
            (tables.train, size),
            (tables.held_out, size),
            (tables.synthetic, min(len(tables.synthetic), NEIGHBOURS)),
        )
    ]
    train, held_out, synthetic = positions(tables.train, picked)
    near, far = (nearest(synthetic, other) for other in (train, held_out))
    tie = np.isclose(near, far, atol=1e-9)
    share = float(np.mean(np.where(tie, 0.5, near < far)))
    return {
        "share": share,
        "copies": float(np.mean(near <= 1e-9)),
        "held_out_copies": float(np.mean(far <= 1e-9)),
        "distance_to_train": float(np.sqrt(near).mean()),
        "distance_to_held_out": float(np.sqrt(far).mean()),
        "rows": size,
    }


def positions(reference: pa.Table, tables: Sequence[pa.Table]) -> list[Floats]:
    """Points whose squared distances are sums over columns, (rows, n) each."""
    parts: list[list[Floats]] = [[] for _ in tables]
    for name in reference.column_names:
        known = numbers(reference[name])
        for k, table in enumerate(tables):
            values = None if known is None else numbers(table[name])
            if known is None or values is None:
                _, codes = words(reference[name], table[name], CODES)
                parts[k].append(np.eye(CODES + 2)[codes] / np.sqrt(2))
                continue
            ranked = np.sort(known[np.isfinite(known)])
            missing = np.isnan(values)
            rank = np.searchsorted(ranked, values, side="left") + np.searchsorted(
                ranked, values, side="right"
            )
            place = np.where(missing, 0.5, rank / max(2 * len(ranked), 1))
            parts[k].append(np.stack([place, missing.astype(np.float64)], axis=1))
    whole = [np.concatenate(columns, axis=1) for columns in parts]
    used = np.any([points.any(axis=0) for points in whole], axis=0)
    return [points[:, used] for points in whole]


def nearest(points: Floats, others: Floats) -> Floats:
    """The squared distance from each point to the nearest of others."""
    squares = (others**2).sum(axis=1)
    found = []
    for start in range(0, len(points), TOGETHER):
        part = points[start : start + TOGETHER]
        products = part @ others.T
        least = (squares - 2 * products).min(axis=1) + (part**2).sum(axis=1)
        found.append(np.maximum(least, 0))
    return np.concatenate(found)


def support(
    tables: Tables,
    columns: Sequence[str],
    escapes: NDArray[np.int8],
    dependences: Sequence[Json],
) -> Json:
    """Synthetic cells and rows that the train rows rule out.

    A cell is wrong if it is null where no train row was, a category that no train row
    had, or outside of the column's type or grid. A combination is wrong if a value of a
    column, that always went with one value of another in the train rows, does not.

    Args:
        tables: What is compared.
        columns: Their names.
        escapes: Why each synthetic cell is new to the encoder, (rows, columns).
        dependences: As `broken_dependences` gives them.
    """
    reasons = {"missing": MISSING, "unseen": UNSEEN, "outside": OUTSIDE}
    wrong = {
        name: {
            reason: int((escapes[:, j] == code).sum())
            for reason, code in reasons.items()
        }
        for j, name in enumerate(columns)
    }
    types = {
        name: str(tables.synthetic[name].type)
        for name in columns
        if tables.synthetic[name].type != tables.train[name].type
    }
    return {
        "wrong_rows": float(np.mean((escapes != PRESENT).any(axis=1))),
        "wrong_cells": {n: each for n, each in wrong.items() if any(each.values())},
        "other_types": types,
        "dependences": len(dependences),
        "broken_dependences": [d for d in dependences if d["synthetic"] > 0],
        "wrong_combinations": float(
            np.mean([d["synthetic"] for d in dependences]) if dependences else 0.0
        ),
    }


def broken_dependences(tables: Tables) -> list[Json]:
    """Pairs of columns of which one determines the other in all train rows.

    With the shares of held-out and of synthetic rows in which it does not.
    """
    coded: dict[str, list[Codes]] = {}
    for name in tables.train.column_names:
        reference = tables.train[name]
        if len(pc.unique(reference)) > FEW:
            continue
        each = (tables.train, tables.held_out, tables.synthetic)
        coded[name] = [distinct(reference, table[name]) for table in each]
    found = []
    for a, b in itertools.permutations(coded, 2):
        counts = np.zeros((FEW + 2, FEW + 2), np.int64)
        np.add.at(counts, (coded[a][0], coded[b][0]), 1)
        often = counts.sum(axis=1) >= SEEN
        determined = often & ((counts > 0).sum(axis=1) == 1)
        # All of it, and not because the other hardly varies.
        if not often.any() or (often & ~determined).any():
            continue
        answer = counts.argmax(axis=1)
        if len(set(answer[determined].tolist())) < 2:
            continue
        shares = []
        for k in (1, 2):
            known = determined[coded[a][k]]
            off = coded[b][k] != answer[coded[a][k]]
            shares.append(float((known & off).mean()))
        found.append(
            {
                "column": a,
                "determines": b,
                "held_out": shares[0],
                "synthetic": shares[1],
            }
        )
    return found


def distinct(reference: pa.ChunkedArray, array: pa.ChunkedArray) -> Codes:
    """Codes of the few distinct values; FEW is any other one, FEW + 1 null."""
    kind = cells.plain(reference.type)
    known = pc.unique(cells_of(reference, kind).drop_null())
    values = cells_of(array, kind) if array.type != kind else array
    places = pc.fill_null(pc.index_in(values, value_set=known), FEW)
    whole = pc.if_else(values.is_null(), FEW + 1, places)
    return np.asarray(whole.to_numpy(), np.int64)


def own_log_prob(tables: Tables, density: TableDensity, config: FidelityConfig) -> Json:
    """What the model says of synthetic and of held-out rows, in nats per row.

    Where it is well calibrated and drew the rows itself, the means agree.
    """
    held_out = density.log_prob(tables.held_out.slice(0, SCORED))
    synthetic = density.log_prob(tables.synthetic.slice(0, SCORED))
    low, high = interval(held_out, config.confidence)
    gap_low, gap_high = interval(synthetic, config.confidence)
    return {
        "synthetic": float(synthetic.mean()),
        "synthetic_interval": [gap_low, gap_high],
        "held_out": float(held_out.mean()),
        "held_out_interval": [low, high],
        "gap": float(synthetic.mean() - held_out.mean()),
    }


def metrics(found: Json) -> dict[str, float]:
    """The main figures by MLflow's names."""
    shown = {
        "samples/univariate_accuracy": found["univariate"]["synthetic"],
        "samples/bivariate_accuracy": found["bivariate"]["synthetic"],
        "samples/two_sample_auc": found["two_sample_auc"]["synthetic"],
        "samples/closest_record_share": found["closest"]["share"],
        "samples/wrong_rows": found["support"]["wrong_rows"],
        "samples/wrong_combinations": found["support"]["wrong_combinations"],
        "samples/log_prob_gap": found["log_prob"]["gap"],
    }
    if found["downstream"]:
        measure = found["downstream"]["measure"]
        shown[f"samples/downstream_{measure}"] = found["downstream"]["synthetic"]
    return shown
