"""Whether a dataset is fit to learn from: its schema, size, nulls and distributions.

What it is held against is the dataset that the champion learned from, as its profile
tells. So a broken export stops before the hours of training, and not after them.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient

from tasks import register, storage, tracking
from tasks.config import ContractConfig
from tasks.gate import Check, conclude
from tasks.profile import TOP

logger = logging.getLogger(__name__)

FOLDER = "data"
"""Folder of an MLflow run in which the facts about its dataset stand."""

FACTS = ("profile.json", "schema.json")

Json = dict[str, Any]  # JSON-able values


def check(prepared: str, reference: Json | None, config: ContractConfig) -> Json:
    """The verdict on a prepared dataset.

    Args:
        prepared: Its folder.
        reference: What `reference_of` gave; None if there is no champion.
        config: What is asked.

    Returns:
        `passed` (whether to go on), `fit` (whether all checks passed), `reason`,
        `checks` (a list of `Check` as dicts) and `reference` (the champion's version).
    """
    profiled, schema = (storage.read_json(storage.join(prepared, f)) for f in FACTS)
    checks = [*check_rows(profiled, config)]
    if reference is not None:
        checks += [
            *check_schema(schema, reference["schema"], config),
            check_growth(profiled, reference["profile"], config),
            *check_columns(profiled, reference["profile"], config),
        ]
    found = conclude(checks)
    failed = [one.remark for one in checks if not one.passed]
    against = (
        "no champion's" if reference is None else f"version {reference['version']}"
    )
    reason = "; ".join(failed) or f"{len(checks)} checks against {against} passed"
    if failed:
        logger.warning("the new data: %s", reason)
    return {
        "passed": not failed or config.on_failure == "warn",
        "fit": not failed,
        "reason": reason,
        "checks": found["checks"],
        "reference": None if reference is None else reference["version"],
    }


def log_facts(run_id: str, prepared: str) -> None:
    """Logs the facts about a dataset to a run, for later ones to be held against."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / FOLDER
        folder.mkdir()
        for file in FACTS:
            content = storage.read_json(storage.join(prepared, file))
            storage.write_json(str(folder / file), content)
        tracking.log_artifact(MlflowClient(), run_id, str(folder))


def reference_of(name: str) -> Json | None:
    """The facts about the dataset of the champion: `profile`, `schema`, `version`.

    None where there is no champion, or its run does not have them.
    """
    champion = register.alias_of(MlflowClient(), name, register.CHAMPION)
    if champion is None or champion.run_id is None:
        return None
    there = MlflowClient().list_artifacts(champion.run_id, FOLDER)
    if {Path(file.path).name for file in there} < set(FACTS):
        logger.warning(
            "version %s of %s does not tell what it learned from, so the data is not "
            "held against it",
            champion.version,
            name,
        )
        return None
    with tempfile.TemporaryDirectory() as temporary:
        folder = mlflow.artifacts.download_artifacts(
            run_id=champion.run_id, artifact_path=FOLDER, dst_path=temporary
        )
        profiled, schema = (storage.read_json(f"{folder}/{file}") for file in FACTS)
    return {
        "version": str(champion.version),
        "profile": profiled,
        "schema": schema,
    }


# --- the checks -----------------------------------------------------------------------


def check_rows(profiled: Json, config: ContractConfig) -> Iterator[Check]:
    """Whether there are rows enough, and few of them in quarantine."""
    rows = sum(profiled["rows"].values())
    yield Check(
        "min_rows",
        rows,
        rows >= config.min_rows,
        f"{rows:,} rows, at least {config.min_rows:,} are asked for",
        bound=config.min_rows,
    )
    lost = profiled["quarantined"] + sum(f["rows"] for f in profiled["bad_files"])
    share = lost / max(1, rows + lost)
    yield Check(
        "quarantined",
        share,
        share <= config.max_quarantined,
        f"{lost:,} rows in quarantine, {share:.2%} of all",
        bound=config.max_quarantined,
    )


def check_schema(schema: Json, before: Json, config: ContractConfig) -> Iterator[Check]:
    """Whether the columns are those of before."""
    ours, theirs = (
        {column["name"]: column["type"] for column in each["columns"]}
        for each in (schema, before)
    )
    gone = [name for name in theirs if name not in ours]
    new = [name for name in ours if name not in theirs]
    other = [n for n in ours if n in theirs and ours[n] != theirs[n]]
    changes = [
        *(f"{name} is gone" for name in gone),
        *(f"{name} was {theirs[name]} and is {ours[name]}" for name in other),
        *(f"{name} ({ours[name]}) is new" for name in new),
    ]
    allowed = {
        "same": not changes,
        "grow": not gone and not other,
        "any": True,
    }[config.columns]
    remark = f"columns: {'; '.join(changes) or 'as before'}"
    if not allowed:
        remark += "; if that is meant, set contract.columns: any"
    yield Check("columns", len(changes), allowed, remark)


def check_growth(profiled: Json, before: Json, config: ContractConfig) -> Check:
    """Whether the dataset has not shrunk."""
    rows, then = sum(profiled["rows"].values()), sum(before["rows"].values())
    ratio = rows / max(1, then)
    return Check(
        "rows_ratio",
        ratio,
        ratio >= config.min_rows_ratio,
        f"{rows:,} rows, the champion's dataset had {then:,}",
        bound=config.min_rows_ratio,
    )


def check_columns(
    profiled: Json, before: Json, config: ContractConfig
) -> Iterator[Check]:
    """Whether each column has nulls and values as before."""
    then = {column["name"]: column for column in before["columns"]}
    for column in profiled["columns"]:
        old = then.get(column["name"])
        if old is None or old["type"] != column["type"]:
            continue
        name = column["name"]
        ours, theirs = (one["missing"] / max(1, one["rows"]) for one in (column, old))
        yield Check(
            f"nulls/{name}",
            ours - theirs,
            ours - theirs <= config.max_null_increase,
            f"column {name}: {ours:.1%} nulls, {theirs:.1%} in the champion's dataset",
            bound=config.max_null_increase,
        )
        far = distance(column, old)
        if far is not None:
            yield Check(
                f"drift/{name}",
                far,
                far <= config.max_drift,
                f"column {name}: its values are {far:.3f} away from those of the "
                "champion's dataset",
                bound=config.max_drift,
            )


def distance(column: Mapping[str, Any], old: Mapping[str, Any]) -> float | None:
    """How far apart two distributions of a column are, from 0 to 1.

    None for columns that are not modelled, and for points in time, which move on.
    """
    if "left out" in (column["kind"], old["kind"]) or is_time(column):
        return None
    if "distribution" in column and "distribution" in old:
        return ks(column["distribution"], old["distribution"])
    if "top" in column and "top" in old:
        return total_variation(shares(column), shares(old))
    return None


def is_time(column: Mapping[str, Any]) -> bool:
    """Whether a column holds points in time."""
    return bool(
        column["kind"] == "timestamp" or column["type"].startswith(("date", "timest"))
    )


def ks(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The greatest difference of two cumulative distributions told at some values."""
    points = np.array(sorted({v for v, _ in ours} | {v for v, _ in theirs}))
    reached = []
    for pairs in (ours, theirs):
        values, cumulative = np.array(pairs, np.float64).T
        places = np.searchsorted(values, points, side="right")
        reached.append(np.concatenate([[0.0], cumulative])[places])
    return float(np.abs(reached[0] - reached[1]).max())


def shares(column: Mapping[str, Any]) -> dict[str, float]:
    """The share of each of a column's most frequent words."""
    rows = max(1, column["rows"] - column["missing"])
    return {word: count / rows for word, count in column["top"]}


def total_variation(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """Half the sum of differences; words that neither names count together.

    Where only the most frequent words are named, one that is not named may be as
    frequent as the last of them, and is taken to be if that is closer.
    """
    floors = [min(o.values(), default=0.0) * (len(o) >= TOP) for o in (ours, theirs)]
    apart = 0.0
    for word in ours.keys() | theirs.keys():
        here, there = ours.get(word), theirs.get(word)
        if here is None:
            assert there is not None
            here = min(there, floors[0])
        if there is None:
            there = min(here, floors[1])
        apart += abs(here - there)
    rest = abs(sum(ours.values()) - sum(theirs.values()))
    return min(1.0, (apart + rest) / 2)
