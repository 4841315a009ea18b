"""The training job: from a prepared dataset to a model folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.config.model import ModelConfig
from tasks.config.resources import Resources
from tasks.config.train import ResolvedTrainConfig, TrainConfig
from tasks.data.prepared import read_encoder
from tasks.runtime import manifest, storage
from tasks.runtime.job import Job, JobResult
from tasks.training import defaults, driver, orderings, warm_start
from tasks.training.checkpoint import EpochMetrics
from tasks.training.driver import OnMetrics
from tasks.training.model_folder import write_model
from tasks.training.warm_start import WarmStart
from tasks.training.worker import TrainingRun

FORMAT = 5
"""Enters the job key; raised when a change of the code changes trained models."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True, kw_only=True)
class TrainResult(JobResult):
    """A trained model.

    Attributes:
        fingerprint: Hash of the model.
        epochs: Number of epochs.
        best_epoch: Epoch of the saved weights, counted from 1.
        valid_nll: Validation NLL of the saved weights, in nats per row of the original
            columns, before violations of inequalities are made as rare as in training.
        rows_per_s: Median training throughput of the epochs.
        history: Metrics of each epoch.
        stopped: Why training ended: epochs, patience or time.
        warm_start: The model that training started from; None from scratch.
    """

    fingerprint: str
    epochs: int
    best_epoch: int
    valid_nll: float
    rows_per_s: float
    history: list[EpochMetrics]
    stopped: str
    warm_start: WarmStart | None

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        history = content["history"]
        rates = [metrics["rows_per_s"] for metrics in history]
        return {"epochs": len(history), "rows_per_s": float(np.median(rates))}


def train(
    prepared: str,
    model: ModelConfig,
    training: TrainConfig,
    output: str,
    resources: Resources,
    *,
    start: str | None = None,
    checkpoints: str | None = None,
    on_metrics: OnMetrics | None = None,
) -> TrainResult:
    """Train a model on a prepared dataset and write it to a folder.

    A run that was killed resumes from its last checkpoint, to the same files.

    Args:
        prepared: Folder of the prepared dataset, local or S3.
        model: Configuration of the network.
        training: Configuration of training.
        output: Folder to write; `{key}` in it stands for the job key.
        resources: Workers, their processors, and the number of restarts.
        start: Folder of a model to start from, with the encoder of `prepared`; or None.
        checkpoints: Folder for Ray's checkpoints, which every node can reach; by
            default, one beside `output`.
        on_metrics: Called with the metrics of every epoch, also of earlier calls.

    Raises:
        FileNotFoundError: `prepared` is not a finished prepared dataset.
        ValueError: The workers do not fit, or `start` is another network than `model`.
        FloatingPointError: Training diverged.
        RuntimeError: Workers failed more often than `resources` allows.
    """
    content = read_prepared_manifest(prepared)
    started_from = warm_start.describe(start, content, training) if start else None
    model, training = resolve_settings(prepared, model, training, start)
    job = Job("train", output, identity(content, model, training, started_from))
    folder = checkpoints or f"{job.path.rstrip('/')}.training"

    def work() -> Json:
        run = TrainingRun(
            job.key,
            # Ray gives its workers a working directory of their own.
            prepared if "://" in prepared else os.path.abspath(prepared),
            resolve_model(job.depends_on["model"], prepared, start),
            training,
            content["log_abs_det"],
            start,
            started_from.row_steps if started_from else {},
            resources.checkpoint_seconds,
        )
        checkpoint = driver.fit(run, folder, resources, on_metrics or (lambda _: None))
        return write_model(checkpoint, run, content, job.path, started_from)

    result = job.run(work, TrainResult)
    if not result.done:
        storage.delete(storage.join(folder, job.key) if checkpoints else folder)
    elif on_metrics is not None:
        for metrics in result.history:
            on_metrics(metrics)
    return result


def identity(
    prepared: Json, model: ModelConfig, training: TrainConfig, start: WarmStart | None
) -> Json:
    """Return everything that a trained model depends on.

    Args:
        prepared: Manifest of the prepared dataset.
        model: Configuration of the network.
        training: Configuration of training.
        start: The model that training starts from, if any.
    """
    return {
        "format": FORMAT,
        "prepared": prepared["job_key"],
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "start": start.fingerprint if start else None,
    }


def resolve_settings(
    prepared: str, model: ModelConfig, training: TrainConfig, start: str | None = None
) -> tuple[ModelConfig, ResolvedTrainConfig]:
    """Replace every `auto` in the configuration of a network and its training.

    Args:
        prepared: Folder of the prepared dataset.
        model: Configuration of the network.
        training: Configuration of training.
        start: Folder of the model that training starts from, if any.

    Raises:
        FileNotFoundError: `prepared` is not a finished prepared dataset.
    """
    content = read_prepared_manifest(prepared)
    rows = content["rows"]["train"]
    if start is not None:
        model = warm_start.with_champions_width(model, start)
        found = warm_start.describe(start, content, training)
        rows = found.old_rows + found.new_rows
    columns = [kind for kind in content["columns"].values() if kind != "left out"]
    return defaults.resolve(model, training, rows, len(columns))


def resolve_model(model: Json, prepared: str, start: str | None) -> Json:
    """Complete the configuration of a network by what only the data determines.

    Args:
        model: Configuration of the network.
        prepared: Folder of the prepared dataset.
        start: Folder of the model that training starts from, if any.
    """
    if start is not None:
        return warm_start.network_config(model, start)
    encoder = read_encoder(prepared)
    if model["family"] == "pixelcnn":
        (image,) = encoder.images
        shape = zip(("height", "width", "channels"), image.shape, strict=True)
        return model | dict(shape)
    return orderings.resolve(model, encoder, prepared)


def read_prepared_manifest(prepared: str) -> Json:
    """Read the manifest of a finished prepared dataset.

    Raises:
        FileNotFoundError: There is none.
        ValueError: A file is damaged.
    """
    path = storage.join(prepared, manifest.MANIFEST)
    if not storage.exists(path):
        raise FileNotFoundError(
            f"{prepared}: not a finished prepared dataset ({manifest.MANIFEST} is "
            "missing); run prepare first"
        )
    return manifest.read_finished(prepared)
