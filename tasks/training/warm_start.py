"""The weights from which training starts: random ones, or the champion's.

A model that starts from the champion keeps the champion's encoder, since its weights
have no meaning in other coordinates. Values that the encoder does not know are out of
its support, as when the champion scores them.
"""

import logging
import math
from dataclasses import asdict, dataclass
from typing import Any

import mlflow
import pyarrow as pa
from mlflow import MlflowClient

from ar_models.families.registry import family_name
from ar_models.tables.encoder import TableEncoder
from tasks.config.data import DataConfig
from tasks.config.model import ModelConfig
from tasks.config.root import Config
from tasks.config.section import AUTO
from tasks.config.train import TrainConfig
from tasks.data.training_data import open_training_data, with_struct_fields
from tasks.registry import aliases, downloads
from tasks.registry.versions import version_uri
from tasks.runtime import dry_runs, manifest, storage
from tasks.runtime.model_store import load

logger = logging.getLogger(__name__)

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True)
class StartingPoint:
    """The model that a retraining starts from.

    Attributes:
        folder: Folder of the model, or None to start from random weights.
        version: Number of its version, or None.
        reason: Why training starts there.
    """

    folder: str | None
    version: str | None
    reason: str

    def encoder(self) -> TableEncoder | None:
        """Load the encoder of the model, if there is one."""
        return load(self.folder).encoder if self.folder else None


@dataclass(frozen=True)
class WarmStart:
    """The model that training starts from, and how old and new rows are mixed.

    Old rows are those of files that the model was trained on.

    Attributes:
        fingerprint: Hash of the model.
        old_rows: Number of old rows in an epoch.
        available_old_rows: Number of old rows in the dataset.
        new_rows: Number of new rows in an epoch.
        row_steps: Steps by which the rows of some files are read, by file name: 4 reads
            every fourth row.
    """

    fingerprint: str
    old_rows: int
    available_old_rows: int
    new_rows: int
    row_steps: dict[str, int]


def choose_start(config: Config, data: DataConfig) -> StartingPoint:
    """Choose the model that a retraining starts from.

    The choice is stored for this dataset and configuration. The same retraining, run
    again, starts from the same model, even if another one is champion by then, and
    finds everything done.

    Args:
        config: The configuration.
        data: The dataset to train on, which may be made of the one in `config`.
    """
    if config.train.init_from == "scratch":
        return StartingPoint(None, None, "train.init_from is scratch")
    dataset = open_training_data(data)
    settings = config.model_dump(
        mode="json", include={"data": True, "model": True, "train": True}
    )
    settings["data"].pop("path")
    key = manifest.job_key(
        task="starting_point",
        registry=mlflow.get_tracking_uri(),
        dataset=dataset.fingerprint,
        settings=settings,
    )
    root = storage.join(config.resources.storage, config.name)
    path = storage.join(root, "starts", f"{key}.json")
    if storage.exists(path):
        return StartingPoint(**storage.read_json(path))
    chosen = start_from_champion(config, data, dataset.schema)
    if dry_runs.current() is None:
        storage.write_json(path, asdict(chosen))
    return chosen


def start_from_champion(
    config: Config, data: DataConfig, schema: pa.Schema
) -> StartingPoint:
    """Return the champion if its encoder fits the dataset, else random weights.

    Args:
        config: The configuration.
        data: The dataset to train on.
        schema: Schema of the dataset.
    """
    champion = aliases.version_by_alias(MlflowClient(), config.name, aliases.CHAMPION)
    if champion is None:
        return StartingPoint(None, None, "there is no champion")
    uri = version_uri(config.name, str(champion.version))
    root = dry_runs.copies_root(config.resources.storage)
    model = downloads.download(uri, root)
    mismatch = find_mismatch(load(model.folder).encoder, data, schema)
    if mismatch is not None:
        logger.warning("training starts from scratch: %s", mismatch)
        return StartingPoint(None, None, mismatch)
    return StartingPoint(model.folder, model.info.version, "it is the champion")


def find_mismatch(
    encoder: TableEncoder, data: DataConfig, schema: pa.Schema
) -> str | None:
    """Return why an encoder does not fit the columns of a dataset, or None.

    Args:
        encoder: Encoder of the champion.
        data: The dataset.
        schema: Its schema.
    """
    data = with_struct_fields(data, schema)
    skipped = {*data.exclude, *data.id}
    modelled = {name for name in schema.names if name not in skipped}
    known = set(encoder.schema.names)
    if modelled != known:
        differences = [f"without {name}" for name in sorted(modelled - known)]
        differences += [f"with {name}" for name in sorted(known - modelled)]
        return (
            "the champion was trained on other columns than the dataset has: "
            f"{', '.join(differences)}"
        )
    try:
        encoder.check(schema)
    except ValueError as error:
        return str(error)
    return None


def describe(folder: str, prepared: Json, training: TrainConfig) -> WarmStart:
    """Describe a warm start from a model on a prepared dataset.

    Args:
        folder: Folder of the model.
        prepared: Manifest of the prepared dataset.
        training: Says how many old rows there may be per new row.
    """
    info = load(folder).info
    known = set((info.get("split_rule") or {}).get("contents", ()))
    prefix = "encoded/train/"
    rows = {
        file["path"].removeprefix(prefix).removesuffix(".arrow"): file["rows"]
        for file in prepared["files"]
        if file["path"].startswith(prefix)
    }
    old = [name for name in rows if prepared["sources"][name]["content"] in known]
    available = sum(rows[name] for name in old)
    new = sum(rows.values()) - available
    step = 1
    if training.replay_ratio is not None and new:
        step = max(1, math.ceil(available / (training.replay_ratio * new)))
    return WarmStart(
        fingerprint=info["fingerprints"]["model"],
        old_rows=sum(-(-rows[name] // step) for name in old),
        available_old_rows=available,
        new_rows=new,
        row_steps=dict.fromkeys(old, step) if step > 1 else {},
    )


def with_champions_width(model: ModelConfig, folder: str) -> ModelConfig:
    """Replace a number of hidden units that is `auto` by the champion's.

    Args:
        model: Configuration of the network in the configuration file.
        folder: Folder of the champion.
    """
    width = load(folder).model.config().get("hidden")
    if width is None or model.settings().get("hidden") != AUTO:
        return model
    return model.model_copy(update={"hidden": width})


def network_config(model: Json, folder: str) -> Json:
    """Return the configuration of the champion's network, to train it further.

    Its ordering is kept, since the weights belong to it: a network whose ordering
    follows the dependences in the data does not start anew when these change. Dropout
    may differ.

    Args:
        model: Configuration of the network in the configuration file.
        folder: Folder of the champion.

    Raises:
        ValueError: It is another network than `model` describes.
    """
    champion = load(folder).model
    network: Json = {
        "ensemble": 1,
        "family": family_name(champion),
        **champion.config(),
    }
    free = ("ordering", "dropout")
    names = sorted(n for n in model if n not in free and model[n] != network.get(n))
    if names:
        differences = ", ".join(
            f"{name} {model[name]!r} not {network.get(name)!r}" for name in names
        )
        raise ValueError(
            "train.init_from: champion requires the champion's network, but model has "
            f"{differences}; change model, or set train.init_from: scratch"
        )
    return network | {name: model[name] for name in ("dropout",) if name in model}
