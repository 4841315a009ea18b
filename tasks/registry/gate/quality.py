"""Checks of the gate on likelihoods: of all rows, of segments and of single columns."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from ar_models.scoring.explanation import text
from tasks.config.gate import GateConfig
from tasks.evaluation.checks import Check, at_least, at_most
from tasks.evaluation.intervals import Floats, bootstrap_interval, normal_half_width
from tasks.registry.gate.predictions import Predictions

MAX_SEGMENTS = 20
"""Maximum number of values of a segment column that are checked, the most frequent."""


def check_rows(
    table: pa.Table, description: str, config: GateConfig, *, compared: bool
) -> Check:
    """Check that there are enough held-out rows.

    Args:
        table: The held-out rows.
        description: What they are, in words.
        config: Says how many rows a comparison needs.
        compared: Whether there is a champion; else one row is enough.
    """
    needed = config.min_rows if compared else 1
    return at_least("rows", table.num_rows, needed, description, needs_review=True)


def check_finite(predictions: Predictions) -> Check:
    """Check that every row has a finite log-probability."""
    infinite = int((~np.isfinite(predictions.log_prob)).sum())
    rows = len(predictions.log_prob)
    remark = f"{infinite:,} of {rows:,} rows have no finite log-probability"
    return at_most("finite", infinite, 0, remark)


def check_diversity(
    predictions: Predictions,
    density: TableDensity,
    table: pa.Table,
    config: GateConfig,
) -> Check:
    """Check that different rows get different anomaly scores.

    Args:
        predictions: Those of the model for the rows.
        density: The model.
        table: The rows.
        config: Says how many different scores there must be per different row.
    """
    rows: set[bytes] = set()
    for _, encoded in density.batches(table):
        rows |= {row.tobytes() for row in encoded.x}
    scores = len(np.unique(np.round(predictions.scores, 6)))
    remark = f"{scores:,} different scores of {len(rows):,} different rows"
    ratio = min(1.0, scores / len(rows))
    return at_least("diversity", ratio, config.min_diversity, remark)


def check_improvement(gains: Floats, config: GateConfig) -> Check:
    """Check that the rows are more probable than under the champion, with confidence.

    Args:
        gains: Log-probability of each row under the challenger minus that under the
            champion, (n,), in nats.
        config: Confidence, and the required improvement.
    """
    low, high = bootstrap_interval(gains, config.confidence)
    passed = low > config.min_improvement
    return Check(
        "improvement",
        float(gains.mean()),
        passed,
        f"{gains.mean():+.4f} nats per row against the champion "
        f"({config.confidence:.0%} interval {low:+.4f} to {high:+.4f}, which "
        f"{'lies' if passed else 'does not lie'} above {config.min_improvement:g})",
        interval=(low, high),
        bound=config.min_improvement,
    )


def check_segments(
    gains: Floats, table: pa.Table, config: GateConfig
) -> Iterator[Check]:
    """Check that no segment with enough rows is less probable than before.

    Args:
        gains: As for `check_improvement`.
        table: The rows.
        config: Names the segment columns; margin and minimum number of rows.
    """
    for name in config.segments:
        codes = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        indices = codes.indices.to_numpy(zero_copy_only=False)
        counts = np.bincount(indices, minlength=len(codes.dictionary))
        for value in np.argsort(-counts, kind="stable")[:MAX_SEGMENTS]:
            if counts[value] < config.min_segment_rows:
                break
            segment = f"{name}={text(codes.dictionary[int(value)].as_py())}"
            yield check_not_worse(
                f"segment/{segment}",
                f"{segment}, {counts[value]:,} rows",
                gains[indices == value],
                config.segment_margin,
                config.confidence,
            )


def check_columns(
    new: TableDensity,
    old: TableDensity,
    ours: Predictions,
    theirs: Predictions,
    config: GateConfig,
) -> list[Check]:
    """Check that no column is predicted worse, given the columns before it.

    Models with different orderings condition a column on different ones, so that their
    columns are not compared.

    Args:
        new: The challenger.
        old: The champion.
        ours: Predictions of the challenger.
        theirs: Predictions of the champion.
        config: Margin and confidence.
    """
    if column_orderings(new) != column_orderings(old):
        remark = "the models have different orderings, so columns are not compared"
        return [Check("column", 0, True, remark)]
    index = {name: k for k, name in enumerate(old.columns)}
    return [
        check_not_worse(
            f"column/{name}",
            f"column {name}",
            ours.columns[:, j] - theirs.columns[:, index[name]],
            config.column_margin,
            config.confidence,
        )
        for j, name in enumerate(new.columns)
    ]


def check_not_worse(
    name: str, label: str, gains: Floats, margin: float, confidence: float
) -> Check:
    """Check that a mean gain is above minus the margin, with confidence.

    Args:
        name: Name of the check.
        label: What was compared, in words.
        gains: Gains in log-probability, (n,), in nats.
        margin: Tolerated loss, in nats per row.
        confidence: Confidence of the interval, two-sided.
    """
    mean = float(gains.mean())
    half = float(normal_half_width(np.asarray(gains.var()), len(gains), confidence))
    passed = mean - half > -margin
    return Check(
        name,
        mean,
        passed,
        f"{label}: {mean:+.4f} nats per row (at least {mean - half:+.4f}, "
        f"{'above' if passed else 'not above'} {-margin:g})",
        interval=(mean - half, mean + half),
        bound=-margin,
    )


def column_orderings(density: TableDensity) -> list[list[str]]:
    """Return the names of the columns in the order of each ordering of a model."""
    names = [
        [density.encoder.column_of(int(i)).name for i in density.model.ordering(which)]
        for which in range(density.model.orderings)
    ]
    return [list(dict.fromkeys(ordering)) for ordering in names]
