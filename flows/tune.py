"""The flow that searches for better settings, with every trial as an MLflow run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import links, steps
from flows.outcomes import TuneOutcome
from flows.steps import output_path
from tasks.config.root import Config
from tasks.runtime import storage
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from tasks.registry import tracking
    from tasks.training.tuning import TrialResult, TuneResult
else:
    tracking = DeferredModule("tasks.registry.tracking")

PARENT_RUN = "mlflow.parentRunId"
"""MLflow's tag of a nested run with the id of its parent."""


def tune(config: Config) -> TuneOutcome:
    """Prepare the dataset and search for better settings of the model."""
    prepared = steps.prepared_data(config)
    found = steps.tune_model(
        config,
        prepared.path,
        output_path(config, "tuning"),
        storage.join(config.resources.storage, config.name, "trials"),
    )
    run_id = logged_search(config, found)
    return TuneOutcome(prepare=prepared, tune=found, run_id=run_id)


def logged_search(config: Config, found: TuneResult) -> str:
    """Log a search as an MLflow run with a nested run for each trial.

    Args:
        config: Configuration of the search.
        found: Its result.

    Returns:
        The id of the run.
    """
    metrics = {
        "valid/nll": found.valid_nll,
        "tune/gain": found.gain,
        "tune/trials": float(len(found.trials)),
        "tune/trial_seconds": found.trial_seconds,
    }
    run_id: str = steps.log_job(
        config.name,
        "tune",
        found.key,
        {"tune": config.tune.model_dump(mode="json")},
        metrics,
        artifacts=[found.config],
    )
    links.link_pages(run_id)
    for trial in found.trials:
        log_trial(config.name, found.key, run_id, trial)
    return run_id


def log_trial(name: str, key: str, parent: str, trial: TrialResult) -> None:
    """Log a trial as a nested MLflow run.

    Args:
        name: Name of the experiment.
        key: Key of the search.
        parent: Id of the run of the search.
        trial: The trial.
    """
    metrics = {"epochs": float(trial.epochs), "seconds": trial.seconds}
    if trial.valid_nll is not None:
        metrics["valid/nll"] = trial.valid_nll
    tracking.log_job(
        name,
        "trial",
        f"{key}-{trial.number}",
        trial.settings,
        metrics,
        tags={PARENT_RUN: parent, "chainrule.trial_state": trial.state},
    )
