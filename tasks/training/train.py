"""Training on Ray: from a prepared dataset to a model folder."""

import contextlib
import json
import logging
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray import train as ray_train
from ray.exceptions import ActorDiedError
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from safetensors.torch import load_file

from ar_models.density.saved_form import save_density
from ar_models.density.table_density import TableDensity
from tasks.config.model import ModelConfig
from tasks.config.resources import Resources
from tasks.config.train import TrainConfig
from tasks.data.prepared import read_encoder
from tasks.monitoring import reference
from tasks.runtime import cluster, manifest, progress, storage
from tasks.training import orderings
from tasks.training.trainer import BEST, Record, read_state
from tasks.training.warm_start import facts, network
from tasks.training.worker import build, train_loop_per_worker

logger = logging.getLogger(__name__)

FORMAT = 3
"""Enters the job key; raised when the same job would write another model."""

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's own record of the checkpoints of a run."""

OVER = "over"
"""Kind of the message that training is over."""

WAIT_SECONDS = 5.0
"""The driver asks for messages so rarely where none come: asking takes processor time
from training."""

STOP_SECONDS = 5.0
"""How long to wait for the workers after an interruption."""

CALIBRATION_ROWS = 65_536
"""Rows of the calibration split that are read at a time."""

OnMetrics = Callable[[Record], None]


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
    overwrite: bool = False,
) -> dict[str, Any]:  # JSON-able values
    """Trains a model on a prepared dataset and writes it to a folder.

    A run that was killed goes on from its last checkpoint and ends with the same
    files as an undisturbed one.

    Args:
        prepared: A folder that `tasks.prepare` finished, local or remote.
        model: Which network.
        training: How to train it.
        output: The model folder to be; `{key}` in it stands for the job key.
        resources: Workers, processors, and how failures are met.
        start: Folder of a model with the encoder of `prepared`, to go on from.
        checkpoints: Folder that every node can reach, in which Ray keeps checkpoints
            below the job key until the model is written; beside `output` if None.
        on_metrics: Called here once for every epoch of the run, also for those before
            an interruption, with its record (see `trainer.TrainerState`).
        overwrite: Replace what another job wrote to `output`.

    Returns:
        path, key, fingerprint (of the model), epochs, valid_nll (nats per row of the
        original columns), rows_per_s, seconds (of training), history, stopped (why),
        start (see `tasks.training.warm_start.facts`; None from scratch), and done:
        whether the model stood there already.

    Raises:
        FileNotFoundError: `prepared` is no finished prepared dataset.
        ValueError: The workers find no place on the cluster, or `start` is another
            network than `model`.
        FloatingPointError: Training diverged.
        RuntimeError: Workers failed more often than `resources` allows.
    """
    source = read_prepared(prepared)
    begin = facts(start, source, training) if start else None
    key = job_key(source, model, training, begin)
    output = output.replace("{key}", key)
    finished = manifest.claim(output, key, overwrite=overwrite)
    done = finished is not None
    if finished is None:
        folder = checkpoints or f"{output.rstrip('/')}.training"
        config = {
            "key": key,
            # Ray gives its workers a working directory of their own.
            "prepared": prepared if "://" in prepared else os.path.abspath(prepared),
            "model": resolved(model.model_dump(mode="json"), prepared, start),
            "training": training.model_dump(mode="json"),
            "log_abs_det": source["log_abs_det"],
            "start": start,
            "every": begin["every"] if begin else {},
            "checkpoint_seconds": resources.checkpoint_seconds,
        }
        checkpoint = fit(config, folder, resources, on_metrics or ignore)
        finished = publish(checkpoint, config, source, output, begin)
        storage.delete(storage.join(folder, key) if checkpoints else folder)
    elif on_metrics is not None:
        for record in finished["history"]:
            on_metrics(record)
    return summary(output, finished) | {"done": done}


def resolved(
    model: dict[str, Any],  # JSON-able values
    prepared: str,
    start: str | None,
) -> dict[str, Any]:  # likewise
    """The configuration of the network, with all that the data say of it."""
    if start is not None:
        return network(model, start)
    encoder = read_encoder(prepared)
    if model["family"] == "pixelcnn":
        (image,) = encoder.images
        shape = zip(("height", "width", "channels"), image.shape, strict=True)
        return model | dict(shape)
    return orderings.resolve(model, encoder, prepared)


def job_key(
    prepared: dict[str, Any],  # JSON values
    model: ModelConfig,
    training: TrainConfig,
    begin: dict[str, Any] | None = None,  # JSON values
) -> str:
    """The key of the job that trains on a prepared dataset, given by its manifest."""
    return manifest.job_key(
        task="train",
        format=FORMAT,
        prepared=prepared["job_key"],
        model=model.model_dump(mode="json"),
        training=training.model_dump(mode="json"),
        start=begin["fingerprint"] if begin else None,
    )


def read_prepared(prepared: str) -> dict[str, Any]:  # JSON values
    """The manifest of a finished prepared dataset."""
    path = storage.join(prepared, manifest.MANIFEST)
    if not storage.exists(path):
        raise FileNotFoundError(
            f"{prepared}: not a finished prepared dataset ({manifest.MANIFEST} is "
            "missing); run prepare first"
        )
    content: dict[str, Any] = storage.read_json(path)
    return content


def fit(
    config: dict[str, Any],  # JSON-able values
    folder: str,
    resources: Resources,
    on_metrics: OnMetrics,
) -> ray_train.Checkpoint:
    """Runs `train_loop_per_worker` on Ray until training is over.

    Returns:
        The last checkpoint.
    """
    cluster.connect(resources)
    cpus = cpus_per_worker(resources, cluster_cpus())
    filesystem, inner = storage.resolve(folder)
    filesystem.create_dir(inner)
    discard_unusable(storage.join(folder, config["key"]))
    check_gpus(resources, ray.cluster_resources().get("GPU", 0))
    here = NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    messages = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    # For mypy, Ray's names are those of its Train V1, which knows less.
    trainer = TorchTrainer(
        train_loop_per_worker,  # type: ignore[arg-type]
        train_loop_config=config | {"threads": cpus, "messages": messages},
        scaling_config=ray_train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={"CPU": cpus, "GPU": resources.gpus_per_worker},
        ),
        run_config=ray_train.RunConfig(  # type: ignore[call-arg]
            name=config["key"],
            storage_path=inner,
            storage_filesystem=filesystem,
            failure_config=ray_train.FailureConfig(resources.max_failures),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=2),
            logging_config=ray_train.LoggingConfig("ERROR"),
        ),
    )
    result: Any = run(trainer, messages, on_metrics)
    if "failed" in result.return_value:
        raise FloatingPointError(result.return_value["failed"])
    checkpoint: ray_train.Checkpoint = result.checkpoint
    return checkpoint


def run(
    trainer: TorchTrainer, messages: Queue, on_metrics: OnMetrics
) -> ray_train.Result:
    """Fits in a thread, and passes on here what the workers tell meanwhile.

    Ray would put its own handler for Ctrl-C into the main thread, for good; and what
    `on_metrics` calls may depend on the thread. When this is interrupted, the workers
    find their messages undeliverable and stop.
    """
    outcome: Future[ray_train.Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(trainer.fit())
        except BaseException as error:  # It rises in the waiting thread instead.
            outcome.set_exception(error)
        # Where the driver was interrupted the queue is gone, or has no actor any more.
        with contextlib.suppress(ActorDiedError, AttributeError):
            messages.put((OVER, None))

    thread = threading.Thread(target=work, name="fit", daemon=True)
    thread.start()
    try:
        listen(messages, outcome, on_metrics)
    finally:
        messages.shutdown(force=True)
        thread.join(timeout=STOP_SECONDS)
    try:
        return outcome.result()
    except ray_train.TrainingFailedError as error:
        raise RuntimeError(explain(error)) from error


def listen(
    messages: Queue, outcome: "Future[ray_train.Result]", on_metrics: OnMetrics
) -> None:
    """Passes on what the workers tell, until `outcome` is there and all is told."""
    told: set[float] = set()
    while True:
        over = outcome.done()
        try:
            kind, content = messages.get(timeout=WAIT_SECONDS)
        except Empty:
            if over:
                return
            continue
        if kind == OVER:
            return
        if kind == "steps":
            progress.report(logger, "train: steps", *content)
        elif kind == "warning":
            logger.warning(content)
        elif content["epoch"] not in told:
            # A restarted worker repeats what it knows.
            told.add(content["epoch"])
            logger.info(
                "epoch %(epoch)d: train %(train_nll).4f, valid %(valid_nll).4f nats, "
                "%(rows_per_s).0f rows/s",
                content,
            )
            on_metrics(content)


def explain(error: ray_train.TrainingFailedError) -> str:
    """What went wrong in the workers, without the stacks."""
    failures = getattr(error, "worker_failures", None)  # that of one kind of it
    if not failures:
        return f"training failed: {gist(error)}"
    reasons = "; ".join(f"worker {k}: {gist(e)}" for k, e in sorted(failures.items()))
    return (
        f"training failed, and no restart helped: {reasons}; if memory ran out, lower "
        "train.batch_size or workers; the same command goes on from the last checkpoint"
    )


def gist(error: Exception) -> str:
    """The line of an error's text that says what it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Ray hands on the whole stack of what a worker raised; the error stands last.
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def cluster_cpus() -> list[int]:
    """The processors of each node that is alive."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [int(node.get("CPU", 0)) for node in nodes]


def cpus_per_worker(resources: Resources, nodes: Sequence[int]) -> int:
    """How many processors each worker gets: as many as find a place on the nodes.

    Raises:
        ValueError: The workers do not find a place; Ray would wait for ever.
    """

    def places(cpus: int) -> int:
        return sum(node // cpus for node in nodes)

    wanted = resources.cpus_per_worker
    choices = [wanted] if wanted else range(max(nodes, default=0), 0, -1)
    for cpus in choices:
        if places(cpus) >= resources.workers:
            return cpus
    raise ValueError(
        f"resources: {resources.workers} workers of {wanted or 1} processors find no "
        f"place on nodes with {list(nodes)} processors; lower workers or "
        "cpus_per_worker, or add nodes"
    )


def check_gpus(resources: Resources, available: float) -> None:
    """Raises ValueError if the cluster has fewer GPUs than the workers need."""
    needed = resources.workers * resources.gpus_per_worker
    if needed > available:
        raise ValueError(
            f"resources: {resources.workers} workers with {resources.gpus_per_worker} "
            f"GPUs each need {needed}, the cluster has {available:g}; lower workers "
            "or gpus_per_worker"
        )


def discard_unusable(folder: str) -> None:
    """Deletes Ray's records of a run if it could not go on from them.

    They are not written atomically: a kill at the wrong moment leaves half a file,
    and another version of Ray refuses them. Then training starts over.
    """
    path = storage.join(folder, SNAPSHOT)
    if not storage.exists(path):
        return
    try:
        version = storage.read_json(path)["ray_version"]
    except (ValueError, KeyError):
        version = "none that can be read"
    if version != ray.__version__:
        logger.warning(
            "%s: written by Ray %s, this is %s; training starts over",
            folder,
            version,
            ray.__version__,
        )
        storage.delete(folder)


def publish(
    checkpoint: ray_train.Checkpoint,
    config: dict[str, Any],  # JSON-able values
    source: dict[str, Any],  # JSON values
    output: str,
    begin: dict[str, Any] | None = None,  # JSON values
) -> dict[str, Any]:  # JSON-able values
    """Writes the model folder from the last checkpoint; its manifest.

    Args:
        checkpoint: Holds the best weights.
        config: Of the run, as for `fit`.
        source: The manifest of the prepared dataset.
        output: The claimed folder.
        begin: Facts about the model that training went on from.
    """
    with checkpoint.as_directory() as folder:
        position = read_state(Path(folder))
        weights = load_file(Path(folder) / BEST)
    if not math.isfinite(position.best_nll):
        raise FloatingPointError(
            "no epoch ended with a finite valid NLL; lower train.learning_rate or set "
            "train.precision to fp32"
        )
    encoder = read_encoder(config["prepared"])
    model = build(config, encoder.variables)
    model.load_state_dict(weights)
    density = TableDensity(
        encoder,
        model,
        info={
            "job_key": config["key"],
            "prepared": source["job_key"],
            "split_rule": split_rule(config["prepared"], source),
            "start": begin,
        },
    )
    rows = source["rows"]["calibration"]
    density.calibration = calibrate(density, config["prepared"], rows)
    with tempfile.TemporaryDirectory() as folder:
        save_density(density, Path(folder))
        if density.calibration:
            remember(density, config["prepared"], Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        for name in names:
            with storage.publish(storage.join(output, name)) as unfinished:
                shutil.copyfile(Path(folder) / name, unfinished)
    saved = storage.read_json(storage.join(output, "model.json"))
    return manifest.finish(
        output,
        config["key"],
        inputs={"prepared": config["prepared"], "job_key": source["job_key"]},
        config={"model": config["model"], "train": config["training"]},
        fingerprint=saved["info"]["fingerprints"]["model"],
        best_epoch=position.best_epoch,
        valid_nll=position.best_nll,
        stopped=position.stopped,
        start=begin,
        seconds=position.seconds,
        history=position.history,
        rows=source["rows"],
        files=[manifest.file_entry(output, name, rows) for name in names],
    )


def split_rule(prepared: str, source: dict[str, Any]) -> dict[str, Any]:  # JSON values
    """What was learned from: the files, and by which rule their rows were divided.

    Args:
        prepared: The prepared dataset.
        source: Its manifest.
    """
    profiled = storage.read_json(storage.join(prepared, "profile.json"))
    return {
        "config": source["config"],
        "boundaries": profiled["boundaries"],
        "contents": sorted({s["content"] for s in source["sources"].values()}),
    }


def calibrate(density: TableDensity, prepared: str, rows: int) -> dict[str, np.ndarray]:
    """The scores of all calibration rows by name, each (rows,), in their order."""
    parts: dict[str, list[np.ndarray]] = {}
    done = 0
    for table in tables(storage.join(prepared, "calibration")):
        for name, scores in density.reference_scores(table).items():
            parts.setdefault(name, []).append(scores)
        done += len(table)
        progress.report(logger, "train: calibration rows", done, rows)
    return {name: np.concatenate(scores) for name, scores in parts.items()}


def remember(density: TableDensity, prepared: str, folder: Path) -> None:
    """Writes what the calibration rows looked like, for `tasks.monitor`."""
    rows = partial(tables, storage.join(prepared, "calibration"))
    known = reference.build(density, rows)
    (folder / reference.FILE).write_text(json.dumps(known.to_dict()) + "\n")


def tables(folder: str) -> Iterator[pa.Table]:
    """The rows of a folder's Parquet files, in order, a bounded number at a time."""
    for name in storage.list_files(folder):
        filesystem, inner = storage.resolve(storage.join(folder, name))
        with pq.ParquetFile(filesystem.open_input_file(inner)) as file:
            for batch in file.iter_batches(CALIBRATION_ROWS):
                yield pa.Table.from_batches([batch])


def summary(
    output: str, finished: dict[str, Any]
) -> dict[str, Any]:  # JSON-able values
    """What `train` returns of a manifest."""
    history = finished["history"]
    rates = [record["rows_per_s"] for record in history]
    return {
        "path": output,
        "key": finished["job_key"],
        "fingerprint": finished["fingerprint"],
        "epochs": len(history),
        "valid_nll": finished["valid_nll"],
        "rows_per_s": float(np.median(rates)),
        "seconds": finished["seconds"],
        "history": history,
        "stopped": finished["stopped"],
        "start": finished["start"],
    }


def ignore(record: Record) -> None:
    """Takes the record of an epoch and does nothing with it."""
