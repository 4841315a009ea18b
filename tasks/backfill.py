"""A dataset's partitions, scored one by one: those of a range, those that are new.

A partition is a hive folder (day=2026-01-01) or, where there are none, a file. Each has
a folder of results with a manifest of its own, so that a job that was stopped goes on,
and a partition whose files have changed is scored anew.
"""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from tasks import datasets, progress, storage
from tasks.config import Resources, ScoreConfig
from tasks.datasets import OnBadFile
from tasks.score import score

logger = logging.getLogger(__name__)

LATEST = "latest"
"""Folder of the results where those of other versions are replaced."""

NAMED = 3
"""Partitions that could not be scored that an error names."""

Json = dict[str, Any]  # JSON-able values
Label = list[tuple[int, int, str]]


def backfill(
    model: str,
    source: str,
    output: str,
    config: ScoreConfig,
    resources: Resources,
    *,
    model_info: Mapping[str, Any],  # JSON-able
    id_columns: tuple[str, ...] = (),
    on_bad_file: OnBadFile = "stop",
    since: str | None = None,
    until: str | None = None,
) -> Json:
    """Scores the partitions of a dataset that this model has not scored as they are.

    Results stand in `output/version=V/PARTITION`, or in `output/latest/PARTITION` where
    `config.versions` is replace. A partition that cannot be scored does not keep the
    others from it.

    Args:
        model: Folder of the model.
        source: The dataset.
        output: Folder of all results.
        config: What is written.
        resources: Where it runs.
        model_info: What is known of the model: its `version` and `fingerprint`.
        id_columns: Columns that are carried to the output.
        on_bad_file: Whether an unreadable file stops a partition.
        since: First partition, by the values of its keys, such as 2026-01-15, or the
            beginning of them, 2026-01; from the first if None.
        until: Last partition, likewise; 2026-01 takes all of January.

    Returns:
        `path`, `partitions` (how many were asked for), `scored` (names of those that
        were not scored before), `rows_in`, `rows_out`, `rows_quarantined` and
        `anomalies` of these, `done` (whether there was nothing to do), `seconds`,
        `rows_per_s`.

    Raises:
        ValueError: There is no partition in the range, or some could not be scored,
            after the others were.
    """
    began = time.monotonic()
    chosen = select(partitions(source), since, until)
    if not chosen:
        raise ValueError(
            f"{source}: no partition lies in {since or 'the first'} to "
            f"{until or 'the last'}"
        )
    version = model_info["version"] or model_info["fingerprint"][:12]
    replace = config.versions == "replace"
    root = storage.join(output, LATEST if replace else f"version={version}")
    found: dict[str, Json] = {}
    failed: dict[str, Exception] = {}
    for number, (name, path) in enumerate(chosen.items(), start=1):
        try:
            found[name] = score(
                model,
                path,
                storage.join(root, name),
                config,
                resources,
                id_columns=id_columns,
                model_info=dict(model_info),
                on_bad_file=on_bad_file,
                overwrite=True,  # what is there is of other files or settings
            )
        except (ValueError, OSError) as error:
            logger.warning("partition %s was not scored: %s", name, error)
            failed[name] = error
        progress.report(logger, "partitions", number, len(chosen))
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(chosen)} partitions were not scored: "
            + "; ".join(f"{n}: {e}" for n, e in list(failed.items())[:NAMED])
        ) from next(iter(failed.values()))
    new = {name: each for name, each in found.items() if not each["done"]}
    counts = ("rows_in", "rows_out", "rows_quarantined", "anomalies")
    seconds = time.monotonic() - began
    totals = {k: sum(each[k] or 0 for each in new.values()) for k in counts}
    return {
        "path": root,
        "partitions": len(chosen),
        "scored": list(new),
        **totals,
        "done": not new,
        "seconds": round(seconds, 3),
        "rows_per_s": round(totals["rows_in"] / seconds, 1),
    }


def partitions(source: str) -> dict[str, str]:
    """The partitions of a dataset by name, in order, with the path of each."""
    root, files = datasets.find_files(source)
    found: dict[str, str] = {}
    for file in files:
        name = name_of(file)
        place = name if file.startswith(f"{name}/") else file
        found[name] = storage.join(root, place)
    return found


def name_of(file: str) -> str:
    """The partition that a file of a dataset belongs to."""
    folder = file.rpartition("/")[0]
    if any(datasets.HIVE.match(part) for part in folder.split("/")):
        return folder
    return file.removesuffix(".parquet")


def select(
    names: Mapping[str, str], since: str | None, until: str | None
) -> dict[str, str]:
    """The partitions from `since` to `until`, both included."""
    first, last = (label(each) if each else [] for each in (since, until))
    chosen = {}
    for name, path in names.items():
        own = label(name)
        if own[: len(first)] < first:
            continue
        if last and own[: len(last)] > last:
            continue
        chosen[name] = path
    return chosen


def label(name: str) -> Label:
    """What orders partitions: the values of the keys, or the words of a file's name.

    Numbers count as such, so that 2026-1-5, year=2026/month=01/day=05 and 2026-01-05
    are the same.
    """
    values = [part.rpartition("=")[2] for part in name.split("/")]
    words = re.findall(r"\d+|[^\W\d_]+", " ".join(values))
    return [(0, int(w), "") if w.isdigit() else (1, 0, w) for w in words]
