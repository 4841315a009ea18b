"""Incremental scoring: the partitions of a dataset that a model has not scored yet.

Each partition has a result directory with a manifest of its own, so that a stopped run
continues where it was, and a partition is scored again when its files have changed.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tasks.config.resources import Resources
from tasks.config.score import ScoreConfig
from tasks.inference.partitions import find_partitions, select_range
from tasks.inference.score import ScoreResult, score
from tasks.inference.source import Source
from tasks.runtime import dry_runs, progress, storage

logger = logging.getLogger(__name__)

LATEST = "latest"
"""Directory of the results where those of other model versions are replaced."""

NAMED_FAILURES = 3
"""Maximum number of failed partitions that an error message names."""


@dataclass(frozen=True, kw_only=True)
class BackfillResult:
    """The outcome of incremental scoring.

    Attributes:
        path: Directory of the results of all partitions.
        partitions: Number of partitions in the requested range.
        scored: Names of the partitions that this call scored.
        rows_in: Rows of these partitions.
        rows_out: Rows of these partitions that were scored.
        rows_quarantined: Rows of these partitions that could not be scored.
        anomalies: Number of anomalies in these partitions.
        done: Whether all partitions had been scored, so that this call did no work.
        seconds: Wall-clock time of this call.
        rows_per_s: Rows scored per second.
    """

    path: str
    partitions: int
    scored: list[str]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    anomalies: int
    done: bool
    seconds: float
    rows_per_s: float


def backfill(
    model: str,
    source: Source,
    output: str,
    config: ScoreConfig,
    resources: Resources,
    *,
    model_info: Mapping[str, Any],  # JSON-able
    since: str | None = None,
    until: str | None = None,
) -> BackfillResult:
    """Score the partitions of a dataset that this model has not scored yet.

    Results are in `output/version=V/PARTITION`, or in `output/latest/PARTITION` where
    `config.versions` is replace. Those of other files or settings are always
    overwritten. A partition that cannot be scored does not stop the others.

    Args:
        model: Directory of the model.
        source: The dataset.
        output: Directory of all results.
        config: What is written.
        resources: Where the job runs.
        model_info: What manifests say about the model, with `version` and
            `fingerprint`.
        since: First partition, as for `select_range`.
        until: Last partition, as for `select_range`.

    Raises:
        ValueError: There is no partition in the range, or some could not be scored;
            then the others have been.
    """
    began = time.monotonic()
    chosen = select_range(find_partitions(source.path), since, until)
    if not chosen:
        raise ValueError(
            f"{source.path}: no partition lies between {since or 'the first'} and "
            f"{until or 'the last'}"
        )
    root = storage.join(output, results_name(config, model_info))
    job: dict[str, Any] = {"config": config, "resources": resources}
    job |= {"model_info": model_info, "overwrite": True}
    results = score_partitions(partial(score, model, **job), source, chosen, root)
    new = {name: each for name, each in results.items() if not each.done}
    counts = ("rows_in", "rows_out", "rows_quarantined", "anomalies")
    totals = {k: sum(getattr(each, k) for each in new.values()) for k in counts}
    seconds = time.monotonic() - began
    return BackfillResult(
        path=root,
        partitions=len(chosen),
        scored=list(new),
        **totals,
        done=not new,
        seconds=round(seconds, 3),
        rows_per_s=round(totals["rows_in"] / seconds, 1),
    )


def results_name(config: ScoreConfig, model_info: Mapping[str, Any]) -> str:
    """Return the name of the directory of a model version's results."""
    if config.versions == "replace":
        return LATEST
    return f"version={model_info['version'] or model_info['fingerprint'][:12]}"


def score_partitions(
    score_partition: Callable[..., ScoreResult],
    source: Source,
    partitions: Mapping[str, str],
    root: str,
) -> dict[str, ScoreResult]:
    """Score partitions one after the other.

    Args:
        score_partition: `score` with all arguments but `source` and `output`.
        source: The dataset.
        partitions: Paths by name.
        root: Directory of the results of all partitions.

    Returns:
        Results by the name of the partition.

    Raises:
        ValueError: Some could not be scored; the others have been.
    """
    results: dict[str, ScoreResult] = {}
    failed: dict[str, Exception] = {}
    for number, (name, path) in enumerate(partitions.items(), start=1):
        try:
            results[name] = score_partition(
                source=replace(source, path=path), output=storage.join(root, name)
            )
        except dry_runs.DryRunEnd:
            continue  # Partitions do not depend on each other.
        except (ValueError, OSError) as error:
            logger.warning("partition %s was not scored: %s", name, error)
            failed[name] = error
        progress.report(logger, "partitions", number, len(partitions))
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(partitions)} partitions were not scored: "
            + "; ".join(f"{n}: {e}" for n, e in list(failed.items())[:NAMED_FAILURES])
        ) from next(iter(failed.values()))
    return results
