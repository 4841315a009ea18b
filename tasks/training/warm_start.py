"""Where training starts: from scratch, or from what the champion has learned.

A model that goes on learning keeps the champion's encoder, since its weights mean
nothing in other coordinates. What the encoder does not know is out of support, as it
is when the champion scores.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow import MlflowClient

from ar_models.families.registry import family_name
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.config.root import Config
from tasks.config.train import TrainConfig
from tasks.data.training_data import open_training_data
from tasks.registry import aliases, downloads
from tasks.runtime import manifest, storage
from tasks.runtime.model_store import load

logger = logging.getLogger(__name__)

Json = dict[str, Any]  # JSON-able values


def choose(config: Config, data: DataConfig) -> Json:
    """Where a retraining starts.

    The choice is written down for this dataset and configuration, so that the same
    retraining, repeated, starts from the same model although another one is champion by
    then, and finds everything done.

    Args:
        config: The configuration.
        data: The dataset to learn from, which may be made of the one in `config`.

    Returns:
        `folder` (of the model to go on from, or None), `version` and `why`.
    """
    if config.train.init_from == "scratch":
        return {"folder": None, "version": None, "why": "train.init_from is scratch"}
    dataset = open_training_data(data)
    settings = config.model_dump(
        mode="json", include={"data": True, "model": True, "train": True}
    )
    settings["data"].pop("path")
    key = manifest.job_key(
        task="start",
        registry=mlflow.get_tracking_uri(),
        dataset=dataset.fingerprint,
        settings=settings,
    )
    root = storage.join(config.resources.storage, config.name)
    path = storage.join(root, "starts", f"{key}.json")
    if storage.exists(path):
        chosen: Json = storage.read_json(path)
        return chosen
    chosen = from_champion(config, data, dataset.schema)
    storage.write_json(path, chosen)
    return chosen


def from_champion(config: Config, data: DataConfig, schema: Any) -> Json:
    """The champion as a start for rows of a schema, or scratch and the reason."""
    champion = aliases.version_by_alias(MlflowClient(), config.name, aliases.CHAMPION)
    if champion is None:
        return {"folder": None, "version": None, "why": "there is no champion"}
    uri = f"models:/{config.name}/{champion.version}"
    folder, about = downloads.download(uri, config.resources.storage)
    why = differs(load(folder).encoder, data, schema)
    if why is not None:
        logger.warning("training starts from scratch: %s", why)
        return {"folder": None, "version": None, "why": why}
    return {"folder": folder, "version": about["version"], "why": "it is the champion"}


def differs(encoder: TableEncoder, data: DataConfig, schema: Any) -> str | None:
    """Why an encoder is not that of a dataset's columns; None if it may be."""
    skipped = {*data.exclude, *data.id}
    modelled = [name for name in schema.names if name not in skipped]
    if set(modelled) != set(encoder.schema.names):
        apart = sorted(set(modelled) ^ set(encoder.schema.names))
        return f"the champion was trained with and without the columns {apart}"
    try:
        encoder.check(schema)
    except ValueError as error:
        return str(error)
    return None


def encoder_of(start: Mapping[str, Any]) -> TableEncoder | None:
    """The encoder of the model to go on from, if there is one."""
    return load(start["folder"]).encoder if start["folder"] else None


def facts(folder: str, prepared: Json, training: TrainConfig) -> Json:
    """What a model to go on from is, and the mixture of old and new rows.

    Args:
        folder: Of the model.
        prepared: The manifest of the prepared dataset.
        training: Says how many old rows there may be.

    Returns:
        `fingerprint` of the model, `old` and `new`: rows of each that an epoch takes,
        `old_of`: old rows that there are, and `every`: of which files of encoded rows
        only every so-many-th row is taken.
    """
    info = load(folder).info
    known = set((info.get("split_rule") or {}).get("contents", ()))
    rows = {
        entry["path"].removeprefix("encoded/train/").removesuffix(".arrow"): entry[
            "rows"
        ]
        for entry in prepared["files"]
        if entry["path"].startswith("encoded/train/")
    }
    old = [p for p in rows if prepared["sources"][p]["content"] in known]
    count = sum(rows[part] for part in old)
    new = sum(rows.values()) - count
    every = 1
    if training.replay_ratio is not None and new:
        every = max(1, math.ceil(count / (training.replay_ratio * new)))
    return {
        "fingerprint": info["fingerprints"]["model"],
        "old": sum(-(-rows[part] // every) for part in old),
        "old_of": count,
        "new": new,
        "every": {part: every for part in old} if every > 1 else {},
    }


def network(model: Json, folder: str) -> Json:
    """The configuration of the network to go on with, which is the champion's.

    Its ordering is kept, since the weights belong to it; so a network that takes
    columns along the dependences in the data does not begin anew when these change.

    Args:
        model: As in the configuration file.
        folder: Of the model to go on from.

    Raises:
        ValueError: It is another network than `model` says.
    """
    champion = load(folder).model
    kept: Json = {"ensemble": 1, "family": family_name(champion), **champion.config()}
    free = ("ordering", "dropout")
    names = sorted(n for n in model if n not in free and model[n] != kept.get(n))
    if names:
        each = ", ".join(f"{n} {model[n]!r} not {kept.get(n)!r}" for n in names)
        raise ValueError(
            f"train.init_from: champion needs the champion's network, and model has "
            f"{each}; change model, or set train.init_from: scratch"
        )
    return kept | {name: model[name] for name in ("dropout",) if name in model}
