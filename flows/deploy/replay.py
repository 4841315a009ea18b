"""Replay the history of a dataset partition by partition, as schedules would have run.

When a partition arrives, a model is retrained and evaluated and the partition is
scored. Its held-out rows, which no model has seen, then tell what retraining was worth:
compared with the champion of that time, and with the first model, never retrained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient

from flows.outcomes import (
    BackfillOutcome,
    Json,
    MonitorOutcome,
    Outcome,
    RetrainOutcome,
)
from flows.process import runs
from tasks.config.root import Config
from tasks.evaluation import replay
from tasks.inference.partitions import find_partitions
from tasks.registry import aliases, downloads
from tasks.runtime import storage

SUFFIX = "-replay"
"""Suffix that makes the name of the replayed model from that of the dataset."""

MODELS = ("champion", "challenger", "never retrained")
"""Models that are compared on the held-out rows of every partition."""


@dataclass(frozen=True, kw_only=True)
class ReplayOutcome(Outcome):
    """Result of a replay.

    Attributes:
        chart: Path of the chart of the negative log-likelihoods.
        partitions: Results of the partitions, oldest first.
    """

    chart: str
    partitions: tuple[Json, ...]


def run(config: Config, on_partition: Callable[[Json], None]) -> ReplayOutcome:
    """Replay the partitions of `replay.path`.

    A replay that was stopped continues with the next partition.

    Args:
        config: Configuration of the dataset; the model is registered under the name of
            the dataset with `SUFFIX`.
        on_partition: Called with the result of every partition, also of those that are
            already done.

    Raises:
        ValueError: The storage holds a replay of other partitions or settings.
    """
    source, window = config.replay.path or config.data.path, config.replay.window
    root = storage.join(config.resources.storage, f"{config.name}{SUFFIX}")
    names = list(find_partitions(source))
    replayed = replayed_config(config, storage.join(root, "data"))
    check_settings(root, settings(config, names))
    results: list[Json] = []
    for number, name in enumerate(names):
        path = storage.join(root, "replay", f"{number:04d}.json")
        if not storage.exists(path):
            replay.add_partition(
                source, name, replayed.data.path, config.replay.rows_per_file
            )
            if window is not None and number >= window:
                replay.remove_partition(replayed.data.path, names[number - window])
            champion = initial_champion(
                replayed, path.replace(".json", "-champion.json")
            )
            result = replay_partition(replayed, name, champion, results)
            storage.write_json(path, result)
        results.append(storage.read_json(path))
        on_partition(results[-1])
    return ReplayOutcome(chart=replay.draw(root, results), partitions=tuple(results))


def settings(config: Config, partitions: Sequence[str]) -> Json:
    """Return everything that the results of a replay depend on."""
    content = config.model_dump(mode="json")
    for section in ("resources", "schedules", "model_card"):
        del content[section]
    return {"partitions": list(partitions), "config": content}


def check_settings(root: str, settings: Json) -> None:
    """Raise ValueError if a folder holds a replay with other settings.

    Args:
        root: Folder of the replay; the settings of a new one are written to it.
        settings: Result of the function `settings`.
    """
    path = storage.join(root, "replay.json")
    if not storage.exists(path):
        storage.write_json(path, settings)
    elif storage.read_json(path) != settings:
        raise ValueError(
            f"{root}: holds a replay of other partitions or settings; delete the "
            "folder or choose another --storage"
        )


def replayed_config(config: Config, data: str) -> Config:
    """Return the configuration of the replayed model.

    Args:
        config: Configuration of the dataset.
        data: Folder to which the partitions are copied as they arrive.
    """
    content = config.model_dump(mode="json")
    content["name"] += SUFFIX
    content["data"]["path"] = content["score"]["input"] = data
    content["score"]["output"] = content["monitor"]["output"] = None
    content["alerts"] = config.alerts  # of which a dump hides the URL
    return Config.model_validate(content)


def initial_champion(config: Config, path: str) -> str | None:
    """Return the folder of the champion at the time when a partition arrived.

    Args:
        config: Configuration of the replayed model.
        path: File that records the folder, for a replay that is stopped and continued.
    """
    if not storage.exists(path):
        storage.write_json(path, {"folder": champion_folder(config)})
    folder: str | None = storage.read_json(path)["folder"]
    return folder


def replay_partition(
    config: Config, partition: str, champion: str | None, previous: Sequence[Json]
) -> Json:
    """Monitor, retrain and score as if a partition had just arrived.

    Args:
        config: Configuration of the replayed model.
        partition: Name of the partition.
        champion: Folder of the champion before the partition arrived.
        previous: Results of the partitions before it.

    Returns:
        The result of the partition: drift, the new model, scored rows, and the negative
        log-likelihood of its held-out rows by each model.
    """
    drift = monitor_partition(config, partition) if champion else None
    retrained = runs.run_flow("retrain", config)
    assert isinstance(retrained, RetrainOutcome)
    scored = None
    if has_champion(config):
        outcome = runs.run_flow("backfill", config, since=partition, until=partition)
        assert isinstance(outcome, BackfillOutcome)
        scored = outcome.backfill
    challenger = retrained.train.path if retrained.train else None
    first = next((p["model"] for p in previous if p["model"]), challenger)
    models = dict(zip(MODELS, (champion, challenger, first), strict=True))
    decision = retrained.register
    return {
        "partition": partition,
        "drift": drift,
        "model": challenger,
        "version": decision.version if decision else None,
        "promoted": decision is not None and decision.promoted,
        "reason": retrained.summary(),
        "scored": scored.rows_out if scored else None,
        "anomalies": scored.anomalies if scored else None,
        **replay.compare_nll(models, retrained.prepare.path, partition),
    }


def monitor_partition(config: Config, partition: str) -> Json:
    """Return whether a partition has drifted from the champion's data, and why."""
    path = find_partitions(config.data.path)[partition]
    section = config.monitor.model_copy(update={"input": path})
    outcome = runs.run_flow("monitor", config.model_copy(update={"monitor": section}))
    assert isinstance(outcome, MonitorOutcome)
    return {"verdict": outcome.monitor.verdict, "reasons": outcome.monitor.reasons}


def has_champion(config: Config) -> bool:
    """Return whether a version of the model has the alias `champion`."""
    champion = aliases.version_by_alias(MlflowClient(), config.name, aliases.CHAMPION)
    return champion is not None


def champion_folder(config: Config) -> str | None:
    """Download the champion; return its folder, or None if there is no champion."""
    if not has_champion(config):
        return None
    uri = f"models:/{config.name}@{aliases.CHAMPION}"
    return downloads.download(uri, config.resources.storage).folder
