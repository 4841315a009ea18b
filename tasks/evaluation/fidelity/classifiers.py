"""Gradient boosting on synthetic rows: two-sample tests and downstream predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ar_models.density.table_density import TableDensity
from ar_models.tables.list_column import ListColumn
from tasks.evaluation.fidelity.codes import BINS, encode_categories
from tasks.evaluation.fidelity.tables import Tables, take_random
from tasks.reports.column_values import to_numbers, to_strings

MAX_CATEGORIES = 254
"""Maximum number of categories passed to gradient boosting; rarer ones are merged."""

FOLDS = 3
"""Number of folds of the cross-validated two-sample test."""

Floats = NDArray[np.float64]
Json = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Features:
    """Tables encoded for gradient boosting.

    Attributes:
        values: An array (rows, columns) for each table, NaN where null.
        categorical: Which columns hold codes of categories, (columns,).
    """

    values: list[Floats]
    categorical: list[bool]


def encode_features(tables: Sequence[pa.Table], columns: Sequence[str]) -> Features:
    """Encode columns of tables; codes follow the frequencies in the first table."""
    values: list[list[Floats]] = [[] for _ in tables]
    categorical = []
    for name in columns:
        numbers = [to_numbers(table[name]) for table in tables]
        categorical.append(any(array is None for array in numbers))
        for k, table in enumerate(tables):
            if categorical[-1]:
                _, codes = encode_categories(
                    tables[0][name], table[name], MAX_CATEGORIES
                )
                column = np.where(codes < 0, np.nan, codes.astype(np.float64))
            else:
                column = np.asarray(numbers[k])
                column = np.where(np.isfinite(column), column, np.nan)
            values[k].append(column)
    return Features([np.stack(columns, axis=1) for columns in values], categorical)


def two_sample_auc(real: pa.Table, other: pa.Table) -> float:
    """Return the AUROC of gradient boosting that distinguishes two tables.

    0.5 means that they cannot be distinguished. Both are cut to equally many rows and
    predicted by cross-validation.
    """
    count = min(len(real), len(other))
    rng = np.random.default_rng(0)
    tables = [take_random(table, count, rng) for table in (real, other)]
    features = encode_features(tables, real.column_names)
    x = np.concatenate(features.values)
    y = np.repeat([0, 1], count)
    model = HistGradientBoostingClassifier(
        categorical_features=features.categorical, random_state=0
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, x, y, cv=folds, method="predict_proba")
    return float(roc_auc_score(y, predicted[:, 1]))


def check_target(density: TableDensity, target: str | None) -> None:
    """Raise ValueError if the target is not a modelled column of single values."""
    columns = {column.name: column for column in density.encoder.columns}
    column = None if target is None else columns.get(target)
    if isinstance(column, ListColumn):
        raise ValueError(
            f"fidelity.target: column {target!r} holds a {column.kind} per row, which "
            "classifiers cannot predict; name a column of single values"
        )
    if target is not None and column is None:
        raise ValueError(
            f"fidelity.target: {target!r} is not a modelled column; modelled columns: "
            f"{', '.join(density.columns)}"
        )


def compare_downstream(tables: Tables, target: str) -> Json:
    """Measure how well a target is predicted after training on synthetic rows.

    Predictions are made for the held-out rows, after training on the training rows and
    on the synthetic rows, equally many of both.

    Returns:
        `target`, `measure` (`auc` of categories, the mean over one class against the
        rest, or `r2` of numbers), and its value for `train` and `synthetic`.
    """
    count = min(len(tables.train), len(tables.synthetic))
    rng = np.random.default_rng(0)
    result: Json = {"target": target, "measure": measure_of(tables.train[target])}
    for name, table in (("train", tables.train), ("synthetic", tables.synthetic)):
        train = take_random(table, count, rng)
        result[name] = prediction_quality(train, tables.held_out, target)
    return result


def measure_of(target: pa.ChunkedArray) -> str:
    """Return the measure of predictions of a column: `auc` or `r2`."""
    values = to_numbers(target)
    return "auc" if values is None or len(np.unique(values)) <= BINS else "r2"


def prediction_quality(train: pa.Table, test: pa.Table, target: str) -> float:
    """Return the quality of predictions of `target` in `test`, trained on `train`."""
    train, test = (t.filter(t[target].is_valid()) for t in (train, test))
    others = [name for name in train.column_names if name != target]
    features = encode_features([train, test], others)
    settings = {"categorical_features": features.categorical, "random_state": 0}
    if measure_of(test[target]) == "r2":
        values = [to_numbers(t[target]) for t in (train, test)]
        model = HistGradientBoostingRegressor(**settings)
        predicted = model.fit(features.values[0], values[0]).predict(features.values[1])
        return float(r2_score(values[1], predicted))
    labels, truth = (
        np.asarray(to_strings(t[target]).to_pylist(), object) for t in (train, test)
    )
    labels = labels.astype(str)
    if len(np.unique(labels)) < 2:
        return 0.5  # There is nothing to learn.
    classifier = HistGradientBoostingClassifier(**settings)
    fitted = classifier.fit(features.values[0], labels)
    probabilities = fitted.predict_proba(features.values[1])
    aucs = [
        roc_auc_score(truth == name, probabilities[:, k])
        for k, name in enumerate(classifier.classes_)
        if 0 < (truth == name).sum() < len(truth)
    ]
    return float(np.mean(aucs)) if aucs else 0.5
