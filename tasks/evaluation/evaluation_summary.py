"""The content of evaluation.json: likelihoods, gains and calibration."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.config.evaluate import EvaluateConfig
from tasks.evaluation import detection, segments
from tasks.evaluation.distances import binned_ks_from_uniform
from tasks.evaluation.intervals import Floats, bootstrap_interval, normal_half_width
from tasks.evaluation.metric_names import metric_name
from tasks.evaluation.row_evaluator import SUMS
from tasks.evaluation.uniformity import Uniformity
from tasks.runtime import parts

PIT_BARS = 20
"""Number of bins of probability integral transforms in evaluation.json."""

Json = dict[str, Any]  # JSON values


def summarize(
    density: TableDensity,
    metadata: Sequence[parts.PartMetadata],
    rows: pa.Table,
    config: EvaluateConfig,
) -> Json:
    """Summarize the results for all test rows, as the content of evaluation.json.

    Likelihoods are in nats per row. `dim`, by which bits are divided, is the mean
    number of modelled values per row: columns, and the elements of lists.

    Args:
        density: The model.
        metadata: Metadata of the parts, with sums over their rows.
        rows: Results for each test row.
        config: Confidence, segments and labels.
    """
    total = {name: np.sum([part[name] for part in metadata], axis=0) for name in SUMS}
    log_prob = rows["log_prob"].to_numpy()
    gain = log_prob - rows["independent_log_prob"].to_numpy()
    nll = float(-log_prob.mean())
    dim = float(total["elements"].sum() / len(rows))
    calibration_rows = len(density.calibration.get("log_prob", ()))
    uniformity = None
    if density.calibration:
        uniformity = Uniformity.of(rows["p_value"].to_numpy(), calibration_rows)
    return {
        "model": density.info["fingerprints"]["model"],
        "rows": len(rows),
        "dim": dim,
        "confidence": config.confidence,
        # The likelihoods of a bound are at least as high.
        "is_bound": density.model.is_bound,
        "nll": nll,
        "nll_interval": _interval(-log_prob, config),
        "bits_per_dim": nll / max(dim, 1) / math.log(2),
        "independent_nll": float(-rows["independent_log_prob"].to_numpy().mean()),
        "gain": float(gain.mean()),
        "gain_interval": _interval(gain, config),
        "calibration_rows": calibration_rows,
        "p_value_ks": uniformity.ks if uniformity else None,
        "p_value_fault": uniformity.fault() if uniformity else None,
        "columns": _summarize_columns(density, total, len(rows), config.confidence),
        "segments": [
            {"column": column, "values": _summarize_segments(rows, column, config)}
            for column in config.segments
        ],
        "detection": None
        if config.label is None
        else detection.detection(
            rows["anomaly_score"].to_numpy(),
            rows[segments.LABEL],
            config.budget,
            confidence=config.confidence,
            resamples=config.resamples,
        ),
    }


def _summarize_columns(
    density: TableDensity, total: Json, rows: int, confidence: float
) -> list[Json]:
    """Return the likelihood, gain and calibration of each column.

    Args:
        density: The model.
        total: Sums over all rows, by column.
        rows: Number of rows.
        confidence: Confidence of the intervals.
    """
    means = {name: sums / rows for name, sums in total.items()}
    gain = means["log_prob"] - means["independent"]
    variance = np.maximum(means["squared_gain"] - gain**2, 0)
    half = normal_half_width(variance, rows, confidence)
    nll_per_element = -total["log_prob"] / np.maximum(1, total["elements"])
    pooled = total["pit"].sum(axis=0)
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "nll": float(-means["log_prob"][j]),
            "nll_per_element": float(nll_per_element[j]),
            "independent_nll": float(-means["independent"][j]),
            "gain": float(gain[j]),
            "gain_interval": [float(gain[j] - half[j]), float(gain[j] + half[j])],
            "out_of_support": int(total["out_of_support"][j]),
            "ks": binned_ks_from_uniform(pooled[j]),
            "ks_by_ordering": [binned_ks_from_uniform(p[j]) for p in total["pit"]],
            "pit": pooled[j].reshape(PIT_BARS, -1).sum(axis=1).tolist(),
        }
        for j, column in enumerate(density.encoder.columns)
    ]


def _summarize_segments(
    rows: pa.Table, column: str, config: EvaluateConfig
) -> list[Json]:
    """Return the NLL and gain in each segment of a column, the largest first."""
    log_prob = rows["log_prob"].to_numpy()
    gain = log_prob - rows["independent_log_prob"].to_numpy()
    return [
        {
            "value": value,
            "rows": len(own),
            "nll": float(-log_prob[own].mean()),
            "nll_interval": _interval(-log_prob[own], config),
            "gain": float(gain[own].mean()),
            "gain_interval": _interval(gain[own], config),
        }
        for value, own in segments.split(rows, column)
    ]


def _interval(values: Floats, config: EvaluateConfig) -> tuple[float, float]:
    return bootstrap_interval(values, config.confidence, config.resamples)


def metrics(evaluation: Json) -> dict[str, float]:
    """Return the main measures, the content of evaluation.json, as MLflow metrics."""
    found = {
        "test/nll": evaluation["nll"],
        "test/bits_per_dim": evaluation["bits_per_dim"],
        "test/independent_nll": evaluation["independent_nll"],
        "test/gain": evaluation["gain"],
        "test/calibration_ks": max(column["ks"] for column in evaluation["columns"]),
    }
    if evaluation["p_value_ks"] is not None:
        found["test/p_value_ks"] = evaluation["p_value_ks"]
    detected = evaluation.get("detection") or {}
    for name in ("auroc", "auprc", "precision", "recall"):
        if detected.get(name) is not None:
            found[f"test/{name}"] = detected[name]
    for segmented in evaluation.get("segments", ()):
        for segment in segmented["values"]:
            name = metric_name(
                "test", "segment_nll", segmented["column"], segment["value"]
            )
            found[name] = segment["nll"]
    return found
