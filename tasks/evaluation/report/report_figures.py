"""The figures of the report of a model."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.sampler import Sampler
from ar_models.density.table_density import TableDensity
from ar_models.scoring.conformal import Rule, ValueCounts, flag_anomalies
from tasks.evaluation import held_out, segments
from tasks.reports import evaluation_figures, figures, images, marginals

COMPARED_ROWS, COMPARED_VALUES = 4096, 2**22
"""Maximum number of test rows, and of their variables' values, that are drawn beside as
many synthetic ones."""

FILES = 64
"""Maximum number of files from which these rows are read, evenly spaced."""

Json = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Evaluated:
    """An evaluated model, as the figures of its report need it.

    Attributes:
        density: The model.
        evaluation: The content of evaluation.json.
        rows: The evaluation's result for each test row.
        history: NLLs of training and validation rows by epoch, if recorded.
        rule: The rule that flags rows as anomalies.
    """

    density: TableDensity
    evaluation: Json
    rows: pa.Table
    history: list[Json]
    rule: Rule


def draw(evaluated: Evaluated, real: pa.Table, anomalous: pa.Table) -> dict[str, str]:
    """Draw all figures of the report.

    Args:
        evaluated: The model and its evaluation.
        real: Test rows that are compared with synthetic ones.
        anomalous: The most anomalous test rows.

    Returns:
        The figures as data URLs, by name.
    """
    columns = evaluated.evaluation["columns"]
    drawn: dict[str, Any] = {
        "calibration": partial(evaluation_figures.draw_calibration, columns),
        **_of_scores(evaluated),
        **_of_columns(evaluated, real, anomalous),
    }
    for k, segmented in enumerate(evaluated.evaluation["segments"]):
        drawn[f"segments{k}"] = partial(
            figures.draw_intervals, segmented["values"], "nll", "NLL, nats per row"
        )
    if evaluated.history:
        drawn["learning_curve"] = partial(
            evaluation_figures.draw_learning_curve, evaluated.history
        )
    return figures.to_data_urls(drawn)


def _of_scores(evaluated: Evaluated) -> figures.Figures:
    rows, rule = evaluated.rows, evaluated.rule
    scores = rows["anomaly_score"].to_numpy()
    threshold = score_threshold(evaluated.density, rows, rule)
    label = f"{rule.kind} {rule.value:g}"
    drawn: dict[str, Any] = {
        "scores": partial(evaluation_figures.draw_scores, scores, threshold, label)
    }
    detection = evaluated.evaluation["detection"]
    if detection and detection["auroc"] is not None:
        known = rows[segments.LABEL].is_valid().to_numpy()
        labels = rows[segments.LABEL].filter(pa.array(known)).to_numpy()
        drawn["detection"] = partial(
            evaluation_figures.draw_detection, scores[known], labels
        )
    if evaluated.density.calibration:
        drawn["p_values"] = partial(
            evaluation_figures.draw_p_values, rows["p_value"].to_numpy()
        )
    return drawn


def _of_columns(
    evaluated: Evaluated, real: pa.Table, anomalous: pa.Table
) -> figures.Figures:
    density, columns = evaluated.density, evaluated.evaluation["columns"]
    synthetic = Sampler(density).sample(len(real), seed=0)
    blocks = images.pixel_blocks(density)
    pixels = {name for image in blocks for name in image.columns}
    others = [column for column in columns if column["name"] not in pixels]
    drawn: dict[str, Any] = {}
    if others:
        drawn["gains"] = partial(evaluation_figures.draw_gains, others)
    flat, names = marginals.flatten_columns([real, synthetic], density)
    if names:
        drawn["marginals"] = partial(marginals.draw_marginals, flat[0], flat[1], names)
    for k, image in enumerate(blocks):
        drawn[f"pixels{k}"] = partial(images.draw_pixel_maps, columns, image)
    for k, image in enumerate(density.encoder.images):
        drawn[f"images{k}"] = partial(images.draw_images, [real, synthetic], image)
        drawn[f"anomalous{k}"] = partial(images.draw_image_row, anomalous, image)
    return drawn


def score_threshold(density: TableDensity, rows: pa.Table, rule: Rule) -> float | None:
    """Return the lowest anomaly score that a rule flags among the test rows.

    A severity belongs to a score of the calibration rows; a false discovery rate and a
    budget depend on the rows that are scored.

    Args:
        density: The model.
        rows: The evaluation's result for each test row.
        rule: The rule that flags rows as anomalies.

    Returns:
        The score in nats, or None where the rule flags no row.
    """
    reference, scores = density.ranking(), rows["anomaly_score"].to_numpy()
    if rule.kind == "threshold":
        if reference is None:
            return None
        return float(np.quantile(reference.scores, rule.value / 100))
    ranked = {}
    if reference is not None:
        p_value = rows["p_value"].to_numpy()
        ranked = {
            "p_value": p_value,
            "q_value": ValueCounts.of(p_value).q_value(p_value),
        }
    flagged = flag_anomalies(rule, scores, ranked)
    if flagged is None or not flagged.any():
        return None
    return float(scores[flagged].min())


def sample_test_rows(density: TableDensity, prepared: str, manifest: Json) -> pa.Table:
    """Read a random sample of test rows from evenly spaced files.

    Args:
        density: The model, whose columns are read.
        prepared: Directory of the prepared dataset.
        manifest: Its manifest.
    """
    files = held_out.list_test_files(prepared, manifest)
    files = files[:: math.ceil(len(files) / FILES)]
    count = min(COMPARED_ROWS, max(COMPARED_VALUES // density.model.dim, 1))
    share = min(1.0, count / sum(file.rows for file in files))
    rng = np.random.default_rng(0)
    tables = []
    for file in files:
        chosen = np.sort(rng.permutation(file.rows)[: math.ceil(share * file.rows)])
        table = held_out.read(file.path).select(density.columns)
        tables.append(table.take(pa.array(chosen)))
    return pa.concat_tables(tables)
