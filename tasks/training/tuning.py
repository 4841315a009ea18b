"""The tuning job: a search for better settings with Ray Tune."""

import logging
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import yaml
from ray import tune as ray_tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler

from tasks.config.root import Config
from tasks.config.tune import duration_seconds
from tasks.runtime import cluster, manifest, progress, storage
from tasks.runtime.failures import AGAIN, ClusterError
from tasks.runtime.job import Job, JobResult
from tasks.runtime.ray_errors import explained
from tasks.training.search_space import Settings, draw_trials
from tasks.training.train import identity, read_prepared_manifest, resolve_model
from tasks.training.trial import Record, Trial, read_record, run_trial
from tasks.training.worker import TrainingRun

logger = logging.getLogger(__name__)

BEST = "best.yaml"
"""File with the configuration of the best trial."""

REDUCTION = 3
"""One in this many trials is continued at each rung of successive halving."""

RUNGS = 2
"""Number of rungs at which trials are stopped before the last epoch."""

MAX_FAILURES = 2
"""Number of times that a trial is repeated after its process died."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The outcome of one trial.

    Attributes:
        number: Number of the trial; 0 is the configuration itself.
        settings: Sections model and train of the trial.
        valid_nll: Lowest validation NLL, in nats per row; None if no epoch ended.
        epochs: Number of epochs.
        seconds: Training time.
        state: completed, stopped (by the scheduler or the budget), or failed.
    """

    number: int
    settings: Json
    valid_nll: float | None
    epochs: int
    seconds: float
    state: str


@dataclass(frozen=True, kw_only=True)
class TuneResult(JobResult):
    """The outcome of a search for better settings.

    Attributes:
        trials: The outcomes of all trials that were started.
        planned: Number of planned trials.
        best: Number of the trial with the lowest validation NLL.
        valid_nll: Its validation NLL, in nats per row.
        gain: By how much it is lower than that of the configuration itself, in nats
            per row. The validation rows chose the trial, so this is optimistic.
        trial_seconds: Training time of all trials together.
        config: YAML file with the configuration of the best trial.
    """

    trials: list[TrialResult]
    planned: int
    best: int
    valid_nll: float
    gain: float
    trial_seconds: float
    config: str

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        return {"config": storage.join(path, BEST)}


def tune(config: Config, prepared: str, output: str, folder: str) -> TuneResult:
    """Search for settings with a lower validation NLL than the configuration has.

    Trials run side by side. Asynchronous successive halving stops those whose
    validation NLL is not among the best third after a ninth and a third of the epochs.
    A search that was killed goes on where it stopped.

    Args:
        config: The configuration, whose section `tune` says what is tried.
        prepared: Folder of the prepared dataset, local or S3.
        output: Folder to write; `{key}` in it stands for the job key.
        folder: Directory for the records of trials, which every node can reach.

    Raises:
        FileNotFoundError: `prepared` is not a finished prepared dataset.
        ValueError: No trial ended with a finite validation NLL.

    Reference:
        Li et al., A system for massively parallel hyperparameter tuning, 2020.
        https://arxiv.org/abs/1810.05934
    """
    content = read_prepared_manifest(prepared)
    settings = drawn_settings(config, content)
    depends_on = {
        "prepared": content["job_key"],
        "trials": [_sections(each) for each in settings],
        "budget": config.tune.budget,
    }
    job = Job("tune", output, depends_on)

    def work() -> Json:
        trials = [
            make_trial(each, content, prepared, folder, config) for each in settings
        ]
        run_trials(trials, config)
        results = [
            describe_trial(number, each, read_record(trial.folder))
            for number, (each, trial) in enumerate(zip(settings, trials, strict=True))
        ]
        return finish(config, settings, results, job.path)

    return job.run(work, TuneResult)


def drawn_settings(config: Config, prepared: Json) -> list[Settings]:
    """Return the settings of all trials.

    Args:
        config: The configuration.
        prepared: Manifest of the prepared dataset.
    """
    columns = [kind for kind in prepared["columns"].values() if kind != "left out"]
    return draw_trials(
        config.model,
        config.train,
        config.tune.families,
        config.tune.trials,
        rows=prepared["rows"]["train"],
        columns=len(columns),
        seed=config.tune.seed,
    )


def make_trial(
    settings: Settings, content: Json, prepared: str, folder: str, config: Config
) -> Trial:
    """Return a trial, whose directory is named after everything it depends on.

    Args:
        settings: Sections model and train.
        content: Manifest of the prepared dataset.
        prepared: Folder of the prepared dataset.
        folder: Directory of all trials.
        config: The configuration, for its resources.
    """
    model, training = settings
    key = manifest.job_key(job="trial", **identity(content, model, training, None))
    run = TrainingRun(
        key,
        prepared if "://" in prepared else os.path.abspath(prepared),
        resolve_model(model.model_dump(mode="json"), prepared, None),
        training,
        content["log_abs_det"],
        checkpoint_seconds=config.resources.checkpoint_seconds,
    )
    place = folder if "://" in folder else os.path.abspath(folder)
    return Trial(run, storage.join(place, key))


def run_trials(trials: Sequence[Trial], config: Config) -> None:
    """Run trials on Ray until all have ended, or the budget is used up.

    Args:
        trials: The trials.
        config: The configuration, for its budget and resources.
    """
    cluster.connect(config.resources)
    budget = config.tune.budget
    remaining = None
    if budget is not None:
        spent = sum(read_record(trial.folder).seconds for trial in trials)
        remaining = max(duration_seconds(budget) - spent, 1.0)
    most = max(trial.run.training.epochs for trial in trials)
    scheduler = ASHAScheduler(
        max_t=most,
        grace_period=max(most // REDUCTION**RUNGS, 1),
        reduction_factor=REDUCTION,
    )
    threads = config.tune.cpus_per_trial
    resources = {
        "cpu": float(threads),
        "gpu": float(config.resources.gpus_per_worker),
    }
    function = ray_tune.with_parameters(run_trial, trials=trials, threads=threads)
    with tempfile.TemporaryDirectory() as records:
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(function, resources),
            param_space={"number": ray_tune.grid_search(list(range(len(trials))))},
            tune_config=ray_tune.TuneConfig(
                metric="valid_nll",
                mode="min",
                scheduler=scheduler,
                time_budget_s=remaining,
            ),
            run_config=ray_tune.RunConfig(
                name="tune",
                storage_path=records,
                verbose=0,
                failure_config=ray_tune.FailureConfig(max_failures=MAX_FAILURES),
                callbacks=[ProgressCallback(len(trials))],
            ),
        )
        with explained("tune"):
            fit_in_thread(tuner)


class ProgressCallback(ray_tune.Callback):
    """Reports how many trials have ended.

    Args:
        planned: Number of all trials.
    """

    def __init__(self, planned: int) -> None:
        self.planned, self.ended = planned, 0

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """Report that one more trial has ended."""
        self.ended += 1
        progress.report(logger, "tune: trials", self.ended, self.planned)


def fit_in_thread(tuner: ray_tune.Tuner) -> None:
    """Run Ray Tune in a thread: in the main thread it would take over Ctrl-C for good.

    Args:
        tuner: The search.

    Raises:
        ClusterError: Ray cannot run the trials.
    """
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            tuner.fit()
            outcome.set_result(None)
        except BaseException as error:  # Raised in the waiting thread instead.
            outcome.set_exception(error)

    threading.Thread(target=work, name="tune", daemon=True).start()
    try:
        outcome.result()
    except TuneError as error:
        raise ClusterError(f"tune: {error}; {AGAIN}") from error


def describe_trial(number: int, settings: Settings, record: Record) -> TrialResult:
    """Return the outcome of a trial.

    Args:
        number: Number of the trial.
        settings: Sections model and train.
        record: Record of the trial.
    """
    state = "completed" if record.stopped else "failed" if record.failed else "stopped"
    return TrialResult(
        number=number,
        settings=_sections(settings),
        valid_nll=record.valid_nll,
        epochs=len(record.history),
        seconds=round(record.seconds, 3),
        state=state,
    )


def finish(
    config: Config,
    settings: Sequence[Settings],
    results: Sequence[TrialResult],
    output: str,
) -> Json:
    """Write the best configuration; return the content of the manifest.

    Args:
        config: The configuration.
        settings: Settings of all trials.
        results: Their outcomes.
        output: Folder of the job.

    Raises:
        ValueError: No trial ended with a finite validation NLL.
    """
    scores = {
        each.number: each.valid_nll
        for each in results
        if each.valid_nll is not None and each.state != "failed"
    }
    if not scores:
        raise ValueError(
            "no trial ended an epoch with a finite validation NLL; raise tune.budget, "
            "or lower train.learning_rate"
        )
    best = min(scores, key=lambda number: (scores[number], number))
    model, training = settings[best]
    sections = {
        "model": model.model_dump(mode="json"),
        "train": training.model_dump(mode="json", exclude_defaults=True),
    }
    if best == 0:
        sections = {}  # The configuration as it is.
    content = config.model_dump(mode="json", exclude_unset=True) | sections
    with storage.publish(storage.join(output, BEST)) as unfinished:
        unfinished.write_text(yaml.safe_dump(content, sort_keys=False))
    return {
        "config": config.tune.model_dump(mode="json"),
        "trials": [asdict(each) for each in results if each.epochs],
        "planned": len(results),
        "best": best,
        "valid_nll": scores[best],
        "gain": scores.get(0, scores[best]) - scores[best],
        "trial_seconds": round(sum(each.seconds for each in results), 3),
        "files": [manifest.file_entry(output, BEST, 0)],
    }


def _sections(settings: Settings) -> Json:
    model, training = settings
    return {
        "model": model.model_dump(mode="json"),
        "train": training.model_dump(mode="json"),
    }
