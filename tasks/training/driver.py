"""The driver of training on Ray, which starts workers and passes on their messages."""

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import ray
from ray import train as ray_train
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tasks.config.resources import Resources
from tasks.runtime import cluster, metrics, progress, ray_errors, storage
from tasks.runtime.failures import ClusterError
from tasks.runtime.ray_errors import explained
from tasks.training.checkpoint import EpochMetrics, is_whole
from tasks.training.placement import check_gpus, cluster_cpus, cpus_per_worker
from tasks.training.worker import TrainingRun, train_loop_per_worker

logger = logging.getLogger(__name__)

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""File of Ray Train that records the checkpoints of a run."""

END = "end"
"""Kind of the message that ends the stream of messages."""

POLL_SECONDS = 5.0
"""Time that the driver waits for a message before it looks whether training has ended;
short times would take processor time from training."""

STOP_SECONDS = 5.0
"""Time to wait for the workers after an interruption."""

RESIZE_SECONDS = 60.0
"""Least time between two looks whether elastic training has room for more workers;
a change of their number costs the steps since the last checkpoint."""

OnMetrics = Callable[[EpochMetrics], None]


def fit(
    run: TrainingRun, folder: str, resources: Resources, on_metrics: OnMetrics
) -> ray_train.Checkpoint:
    """Train on Ray, from the last checkpoint if there is one, until training ends.

    Args:
        run: What is trained.
        folder: Folder for Ray's checkpoints, which every node can reach.
        resources: Number of workers, their processors, and the number of restarts.
        on_metrics: Called with the metrics of every epoch, in this thread.

    Returns:
        The last checkpoint.

    Raises:
        ValueError: The cluster has no room for the workers.
        FloatingPointError: Training diverged.
        ClusterError: Workers failed more often than `resources` allows.
    """
    cluster.connect(resources)
    cpus = cpus_per_worker(resources, cluster_cpus())
    filesystem, inner = storage.resolve(folder)
    filesystem.create_dir(inner)
    discard_unreadable(storage.join(folder, run.key))
    check_gpus(resources, ray.cluster_resources().get("GPU", 0))
    this_node = NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    messages = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": this_node})
    # mypy knows only the names of Ray Train V1, which have fewer arguments.
    torch_trainer = TorchTrainer(
        train_loop_per_worker,  # type: ignore[arg-type]
        train_loop_config={"run": run, "threads": cpus, "messages": messages},
        scaling_config=ray_train.ScalingConfig(  # type: ignore[call-arg]
            num_workers=number_of_workers(resources),  # type: ignore[arg-type]
            elastic_resize_monitor_interval_s=max(
                RESIZE_SECONDS, resources.checkpoint_seconds
            ),
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={"CPU": cpus, "GPU": resources.gpus_per_worker},
        ),
        run_config=ray_train.RunConfig(  # type: ignore[call-arg]
            name=run.key,
            storage_path=inner,
            storage_filesystem=filesystem,
            failure_config=ray_train.FailureConfig(resources.max_failures),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=2),
            logging_config=ray_train.LoggingConfig("ERROR"),
        ),
    )
    with explained("train"):
        result: Any = fit_in_thread(torch_trainer, messages, on_metrics)
    if "failed" in result.return_value:
        raise FloatingPointError(result.return_value["failed"])
    checkpoint: ray_train.Checkpoint = result.checkpoint
    return checkpoint


def number_of_workers(resources: Resources) -> int | tuple[int, int]:
    """Return the number of workers, or the least and the largest if it may change."""
    if isinstance(resources.workers, int):
        return resources.workers
    return resources.min_workers, resources.max_workers


def fit_in_thread(
    torch_trainer: TorchTrainer, messages: Queue, on_metrics: OnMetrics
) -> ray_train.Result:
    """Run Ray's `fit` in a thread, and pass on the workers' messages in this one.

    In the main thread, Ray would install its own handler for Ctrl-C for good, and
    `on_metrics` may depend on the thread it is called in. If this thread is
    interrupted, the workers cannot deliver their messages any more, and stop.

    Args:
        torch_trainer: Ray's trainer.
        messages: Queue of the workers' messages.
        on_metrics: Called with the metrics of every epoch.

    Raises:
        ClusterError: Workers failed too often; the message gives a line per worker.
    """
    outcome: Future[ray_train.Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(torch_trainer.fit())
        except BaseException as error:  # Raised in the waiting thread instead.
            outcome.set_exception(error)
        # If the driver was interrupted, the queue or its actor is gone.
        with contextlib.suppress(ActorDiedError, AttributeError):
            messages.put((END, None))

    thread = threading.Thread(target=work, name="fit", daemon=True)
    thread.start()
    try:
        pass_on_messages(messages, outcome, on_metrics)
    finally:
        messages.shutdown(force=True)
        thread.join(timeout=STOP_SECONDS)
    try:
        return outcome.result()
    except ray_train.TrainingFailedError as error:
        raise ClusterError(describe_failure(error)) from error


def pass_on_messages(
    messages: Queue, outcome: "Future[ray_train.Result]", on_metrics: OnMetrics
) -> None:
    """Log the workers' progress and warnings and pass on metrics, until training ends.

    Args:
        messages: Queue of the workers' messages.
        outcome: Done when training has ended.
        on_metrics: Called with the metrics of every epoch.
    """
    reported: set[float] = set()
    steps: int | None = None
    workers: int | None = None
    while True:
        ended = outcome.done()
        try:
            kind, content = messages.get(timeout=POLL_SECONDS)
        except Empty:
            if ended:
                return
            continue
        if kind == END:
            return
        if kind == "steps":
            progress.report(logger, "train: steps", *content)
            # After a restart the number is lower, that of the last checkpoint.
            new = 0 if steps is None else max(content[0] - steps, 0)
            metrics.record("chainrule_training_steps", new)
            steps = content[0]
        elif kind == "workers":
            if workers not in (None, content):
                plural = "" if content == 1 else "s"
                logger.warning("training goes on with %d worker%s", content, plural)
            workers = content
            metrics.record("chainrule_training_workers", content)
        elif kind == "warning":
            logger.warning(content)
        elif content["epoch"] not in reported:
            # A restarted worker sends the earlier epochs again.
            reported.add(content["epoch"])
            logger.info(
                "epoch %(epoch)d: train %(train_nll).4f, valid %(valid_nll).4f nats, "
                "%(rows_per_s).0f rows/s",
                content,
            )
            record_epoch(content)
            on_metrics(content)


def record_epoch(epoch: EpochMetrics) -> None:
    """Record the metrics of an epoch on the metrics endpoint of Ray."""
    metrics.record("chainrule_training_rows_per_second", epoch["rows_per_s"])
    for split in ("train", "valid"):
        metrics.record("chainrule_training_nll", epoch[f"{split}_nll"], split=split)


def describe_failure(error: ray_train.TrainingFailedError) -> str:
    """Return a message with a line per failed worker, without stack traces."""
    # Only one subclass of the error has this attribute.
    failures = getattr(error, "worker_failures", None)
    if not failures:
        return f"training failed: {_last_line(error)}"
    reasons = "; ".join(
        f"worker {rank}: {_last_line(failure)}"
        for rank, failure in sorted(failures.items())
    )
    return (
        f"training failed, and restarts did not help: {reasons}; if memory ran out, "
        "lower train.batch_size or resources.workers; the same command resumes from "
        "the last checkpoint"
    )


def _last_line(error: Exception) -> str:
    if isinstance(error, RayError) and not isinstance(error, RayTaskError):
        return ray_errors.message(type(error))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Ray passes on the whole stack trace of a worker's error, which ends with it.
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def discard_unreadable(folder: str) -> None:
    """Discard damaged checkpoints of a run, so that it goes on from the one before.

    Without any whole checkpoint, or if Ray's record of them cannot be read, the run
    starts over: Ray does not write the record atomically, and refuses that of another
    version.

    Args:
        folder: Folder of the run.
    """
    path = storage.join(folder, SNAPSHOT)
    if not storage.exists(path):
        return
    try:
        snapshot = storage.read_json(path)
        found = snapshot["ray_version"]
        known = {
            index: result["checkpoint_dir_name"]
            for index, result in enumerate(snapshot["checkpoint_results"])
        }
        latest = snapshot["latest_checkpoint_result"]["checkpoint_dir_name"]
    except (ValueError, KeyError, TypeError):
        start_over(folder, f"{SNAPSHOT} is damaged")
        return
    if found != ray.__version__:
        start_over(folder, f"checkpoints of Ray {found}, but this is {ray.__version__}")
        return
    whole = [i for i, name in known.items() if is_whole(storage.join(folder, name))]
    if not whole:
        start_over(folder, "no checkpoint is whole")
    elif len(whole) < len(known) or latest not in known.values():
        keep_checkpoints(folder, snapshot, whole)


def start_over(folder: str, reason: str) -> None:
    """Delete all records of a run, with a warning that says why."""
    logger.warning("%s: %s; training starts over", folder, reason)
    storage.delete(folder)


def keep_checkpoints(folder: str, snapshot: dict[str, Any], kept: list[int]) -> None:
    """Remove checkpoints from a run and from Ray's record of it.

    Args:
        folder: Folder of the run.
        snapshot: Ray's record, JSON values.
        kept: Positions of the checkpoints to keep in the record, the last one last.
    """
    results, indices = "checkpoint_results", "checkpoint_report_indices"
    last = snapshot[results][kept[-1]]
    for position, result in enumerate(snapshot[results]):
        damaged = storage.join(folder, result["checkpoint_dir_name"])
        if position not in kept:
            logger.warning(
                "%s: this checkpoint is damaged; training goes on from %s",
                damaged,
                last["checkpoint_dir_name"],
            )
            storage.delete(damaged)
    changes = {
        results: [snapshot[results][position] for position in kept],
        indices: [snapshot[indices][position] for position in kept],
        "latest_checkpoint_result": last,
        "pending_training_results": [],
        "pending_validation_specs": [],
    }
    storage.write_json(storage.join(folder, SNAPSHOT), {**snapshot, **changes})
