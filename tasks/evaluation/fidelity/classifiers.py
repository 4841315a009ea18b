"""Gradient boosting on synthetic rows: two-sample tests and downstream predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_validate

from ar_models.density.table_density import TableDensity
from ar_models.tables.list_column import ListColumn
from tasks.evaluation.fidelity.codes import BINS, encode_categories
from tasks.evaluation.fidelity.tables import Tables, take_random
from tasks.reports.column_values import to_numbers, to_strings

MAX_CATEGORIES = 254
"""Maximum number of categories passed to gradient boosting; rarer ones are merged."""

FOLDS = 3
"""Number of folds of the cross-validated two-sample test."""

REPEATS = 2
"""Number of permutations of each column in each fold."""

PERMUTED_CELLS = 400_000
"""Number of cells of a fold, from which the number of permuted rows follows."""

PERMUTED_ROWS = (500, 5000)
"""Minimum and maximum number of rows of a fold in which columns are permuted."""

MIN_IMPORTANCE = 0.002
"""Smallest reported importance of a column, in AUC."""

MAX_COLUMNS = 10
"""Maximum number of columns that are reported to distinguish two tables."""

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


@dataclass(frozen=True, kw_only=True)
class ColumnImportance:
    """The share of a column in distinguishing synthetic from real rows.

    Attributes:
        column: Name of the column.
        importance: Mean decrease of the AUC when the column is permuted.
    """

    column: str
    importance: float


@dataclass(frozen=True)
class TwoSampleTest:
    """Gradient boosting, fitted to distinguish two tables.

    Attributes:
        auc: Mean AUC over the held-out folds; 0.5 means indistinguishable.
        columns: Names of the columns.
        x: Encoded rows of both tables, (rows, columns).
        y: Which rows are of the second table, (rows,).
        folds: The fitted classifier of each fold, and its held-out rows.
    """

    auc: float
    columns: list[str]
    x: Floats
    y: NDArray[np.int64]
    folds: list[tuple[HistGradientBoostingClassifier, NDArray[np.int64]]]

    @classmethod
    def fit(cls, real: pa.Table, other: pa.Table) -> Self:
        """Fit classifiers to equally many rows of two tables by cross-validation."""
        count = min(len(real), len(other))
        rng = np.random.default_rng(0)
        tables = [take_random(table, count, rng) for table in (real, other)]
        features = encode_features(tables, real.column_names)
        x, y = np.concatenate(features.values), np.repeat([0, 1], count)
        model = HistGradientBoostingClassifier(
            categorical_features=features.categorical, random_state=0
        )
        found = cross_validate(
            model,
            x,
            y,
            scoring="roc_auc",
            cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
            return_estimator=True,
            return_indices=True,
        )
        folds = list(zip(found["estimator"], found["indices"]["test"], strict=True))
        return cls(float(found["test_score"].mean()), real.column_names, x, y, folds)

    def importances(self) -> list[ColumnImportance]:
        """Return the columns by which the tables are distinguished, by importance.

        The importance is the mean over held-out folds; a column is left out if it is
        less than two standard errors above 0.
        """
        cells = PERMUTED_CELLS // max(len(self.columns), 1)
        rows = int(np.clip(cells, *PERMUTED_ROWS))
        drops = np.concatenate(
            [
                permutation_importance(
                    model,
                    self.x[held_out],
                    self.y[held_out],
                    scoring="roc_auc",
                    n_repeats=REPEATS,
                    random_state=0,
                    max_samples=min(rows, len(held_out)),
                ).importances
                for model, held_out in self.folds
            ],
            axis=1,
        )
        mean = drops.mean(axis=1)
        least = 2 * drops.std(axis=1, ddof=1) / np.sqrt(drops.shape[1])
        return [
            ColumnImportance(column=self.columns[j], importance=float(mean[j]))
            for j in np.argsort(-mean)[:MAX_COLUMNS]
            if mean[j] > max(MIN_IMPORTANCE, least[j])
        ]


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
