"""The content of drift.json: effect sizes of all columns, and the verdict."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ar_models.tables.encoder import TableEncoder
from tasks.config.monitor import MonitorConfig
from tasks.evaluation.metric_names import metric_name
from tasks.monitoring import reference
from tasks.monitoring.drift import EFFECTS, measure_effects
from tasks.monitoring.histograms import Histogram, Scale
from tasks.monitoring.reference import Reference
from tasks.monitoring.violations import violation_rates

MIN_ROWS = 100
"""Minimum number of new rows, and of calibration rows, for a verdict on drift."""

NAMED = 3
"""Maximum number of columns that a caution names."""

REMEDY = (
    "p_value, q_value and severity compare rows with calibration rows from before the "
    "change. Retrain the model on rows like these; until then, calibrate it on them "
    "(chainrule calibrate), unless they contain incidents"
)

Json = dict[str, Any]  # JSON values


def summarize(
    encoder: TableEncoder,
    known: Reference,
    batch: Sequence[Histogram],
    config: MonitorConfig,
) -> Json:
    """Compare the histograms of a batch with the reference, as drift.json holds it.

    Args:
        encoder: The model's encoder.
        known: The reference of the model.
        batch: Histograms of the new rows, in the order of the reference.
        config: Limits and intervals.
    """
    count = len(encoder.columns)
    compared = 1 + 2 * count
    sizes = [
        asdict(
            measure_effects(
                scale,
                old,
                new,
                resamples=config.resamples,
                confidence=config.confidence,
            )
        )
        for scale, old, new in zip(
            known.all_scales[:compared],
            known.histograms[:compared],
            batch[:compared],
            strict=True,
        )
    ]
    pair = (known.histograms, batch)
    rates = violation_rates(
        encoder, known.histograms[compared:], batch[compared:], config.ignore
    )
    columns = _columns(encoder, known, batch, sizes, config.ignore)
    result: Json = {
        "rows": int(batch[0].counts.sum()),
        "reference_rows": known.rows,
        "confidence": config.confidence,
        "limits": _limits(config),
        "log_prob": {**sizes[0], "means": [_mean(known.scales[0], h[0]) for h in pair]},
        "columns": columns,
        "constraints": [{**asdict(rate), "rates": rate.rates} for rate in rates],
        "periods": [],
    }
    # Bonferroni's correction, as there is a test for each constraint.
    alpha = (1 - config.confidence) / max(len(rates), 1)
    violated = [rate.describe() for rate in rates if rate.is_drift(alpha)]
    result |= _conclude(result, violated)
    return {**result, "metrics": metrics(result)}


def _columns(
    encoder: TableEncoder,
    known: Reference,
    batch: Sequence[Histogram],
    sizes: Sequence[Json],
    ignore: Sequence[str],
) -> list[Json]:
    """Return what drift.json holds about each column.

    Args:
        encoder: The model's encoder.
        known: The reference of the model.
        batch: Histograms of the new rows, in the order of the reference.
        sizes: Effect sizes in this order.
        ignore: Columns whose drift is not reported.
    """
    pair = (known.histograms, batch)
    count = len(encoder.columns)
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "monitored": not (column.name in ignore or reference.is_moment(encoder, j)),
            "marginal": sizes[1 + j],
            "conditional": sizes[1 + count + j],
            "missing": [_share(known, h, j, "missing") for h in pair],
            "out_of_support": [_share(known, h, j, reference.NEW) for h in pair],
        }
        for j, column in enumerate(encoder.columns)
    ]


def _conclude(result: Json, violated: Sequence[str]) -> Json:
    """Return the `verdict`, its `reasons`, `remedy` and `caution`.

    Args:
        result: The effect sizes.
        violated: The constraints that are violated more often than before, as text.
    """
    few = _too_few(result["rows"], result["reference_rows"])
    if few:
        return {"verdict": "unclear", "reasons": few, "remedy": None, "caution": None}
    reasons = [*_exceeded(result), *violated]
    return {
        "verdict": "drift" if reasons else "stable",
        "reasons": reasons,
        "remedy": REMEDY if reasons else None,
        "caution": _caution(result),
    }


def _too_few(rows: int, known: int) -> list[str]:
    """Say which of the new rows and the calibration rows are too few."""
    reasons = []
    if rows < MIN_ROWS:
        reasons.append(
            f"{rows} rows are too few to detect drift; at least {MIN_ROWS} are needed"
        )
    if known < MIN_ROWS:
        reasons.append(
            f"{known} calibration rows of the model are too few to detect drift; train "
            "it with a larger data.split.calibration, or on more rows: at least "
            f"{MIN_ROWS} are needed"
        )
    return reasons


def _caution(result: Json) -> str | None:
    """Say which effect sizes could exceed a limit by chance, None if there are none."""
    uncertain = []
    for effect, limit in result["limits"].items():
        names = [
            name
            for name, sizes in _monitored(result)
            if sizes[effect] is not None and sizes[effect]["chance"] > limit
        ]
        if names:
            uncertain.append(f"{effect} above {limit:g} of {_list(names)}")
    if not uncertain:
        return None
    fewer = "calibration" if result["reference_rows"] <= result["rows"] else "new"
    return (
        f"with {result['rows']} new rows and {result['reference_rows']} calibration "
        f"rows, chance alone can cause {'; '.join(uncertain)}. Smaller changes of "
        f"these are not detected until there are more {fewer} rows"
    )


def _list(names: Sequence[str]) -> str:
    """List the first names and say how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _limits(config: MonitorConfig) -> dict[str, float]:
    """Return the effect sizes above which there is drift, as far as they are set."""
    limits = {name: getattr(config, f"max_{name}") for name in EFFECTS}
    return {name: value for name, value in limits.items() if value is not None}


def _share(
    known: Reference, histograms: Sequence[Histogram], j: int, label: str
) -> float:
    """Return the share of a label among all cells of column `j`, 0 without it."""
    scale, counts = known.scales[1 + j], histograms[1 + j].counts
    if label not in scale.labels or not counts.sum():
        return 0.0
    return float(counts[scale.numbers + scale.labels.index(label)] / counts.sum())


def _mean(scale: Scale, histogram: Histogram) -> float | None:
    """Return the mean of numbers, outliers clipped; None without numbers."""
    count = int(histogram.counts[: scale.numbers].sum())
    return float(histogram.sums[: scale.numbers].sum() / count) if count else None


def _monitored(result: Json) -> Iterator[tuple[str, Json]]:
    """Yield the name of each monitored distribution and its effect sizes."""
    yield "log-probability of rows", result["log_prob"]
    for column in result["columns"]:
        if column["monitored"]:
            for kind in ("marginal", "conditional"):
                yield f"{kind} distribution of {column['name']}", column[kind]


def _exceeded(result: Json) -> Iterator[str]:
    """Yield in words each effect size whose interval lies above the limit."""
    for name, sizes in _monitored(result):
        for effect, limit in result["limits"].items():
            size = sizes[effect]
            if size is not None and size["low"] > limit:
                yield (
                    f"{name}: {effect} {size['value']:.3g} ({size['low']:.3g} to "
                    f"{size['high']:.3g}) is above {limit:g}"
                )


def metrics(result: Json) -> dict[str, float]:
    """Return the effect sizes, the content of drift.json, as MLflow metrics.

    Of each effect size the largest over the monitored columns is given as well.
    """
    found = {
        "drift/rows": float(result["rows"]),
        "drift/found": float(result["verdict"] == "drift"),
    }
    for effect in EFFECTS:
        size = result["log_prob"][effect]
        if size is not None:
            found[f"drift/log_prob_{effect}"] = size["value"]
        for kind in ("marginal", "conditional"):
            values = [
                column[kind][effect]["value"]
                for column in result["columns"]
                if column["monitored"] and column[kind][effect] is not None
            ]
            if values:
                found[f"drift/{kind}_{effect}"] = max(values)
    for constraint in result["constraints"]:
        name = metric_name("drift", "violations", constraint["column"])
        found[name] = constraint["rates"][1]
    for column in result["columns"]:
        for kind in ("marginal", "conditional"):
            size = column[kind]["ks"]
            if size is not None:
                name = metric_name("drift", f"{kind}_ks", column["name"])
                found[name] = size["value"]
    return {name: value for name, value in found.items() if math.isfinite(value)}
