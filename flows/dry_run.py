"""Dry runs of the flows: what a command would read, write and do again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import batch, retrain, steps
from flows.commands import FLOWS
from flows.outcomes import DryRunOutcome
from tasks.config.root import Config
from tasks.registry import database
from tasks.runtime import dry_runs
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from tasks.training import warm_start
    from tasks.training.warm_start import StartingPoint
else:
    warm_start = DeferredModule("tasks.training.warm_start")


def rehearse(name: str, config: Config, **parameters: Any) -> DryRunOutcome:
    """Return what the flow of a command would do, and do nothing.

    Args:
        name: Name of the command.
        config: Configuration of the flow.
        **parameters: Further parameters of the flow.

    Raises:
        FileNotFoundError: The command needs a registered version, and there is none.
        ValueError: The data or the configuration is invalid.
    """
    if name in batch.STEPS or name in ("backfill", "compare", "calibrate"):
        require_registry()
    with dry_runs.dry_run() as run:
        REHEARSALS[name](config, **parameters)
    chain = CHAINS.get(name, ())
    reached = [chain.index(plan.kind) for plan in run.plans if plan.kind in chain]
    later = chain[max(reached, default=-1) + 1 :]
    return DryRunOutcome(jobs=tuple(run.plans), later=later)


def require_registry() -> None:
    """Raise FileNotFoundError if MLflow's embedded database is not there yet."""
    path = missing_registry()
    if path is not None:
        raise FileNotFoundError(
            f"{path}: MLflow's database is not there, or has the schema of another "
            "version of MLflow; run retrain first, or any command without --dry-run"
        )


def missing_registry() -> Path | None:
    """Return the path of MLflow's embedded database if it cannot be used as it is."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    path = Path(uri.removeprefix(database.PREFIX))
    usable = not uri.startswith(database.PREFIX) or database.is_current(path)
    return None if usable else path


def rehearse_evaluation(config: Config, start: StartingPoint | None = None) -> None:
    """Prepare, train and evaluate, as far as the results exist.

    Args:
        config: Configuration of the flow.
        start: The model to start from, if any.
    """
    encoder = start.encoder() if start else None
    prepared = steps.prepared_data(config, encoder)
    config = steps.resolved_config(config, prepared, start)
    folder = start.folder if start else None
    trained = retrain.trained_model(config, prepared, start=folder)
    retrain.evaluated_model(config, prepared, trained)


def rehearse_retraining(config: Config) -> None:
    """Do what `retrain` does up to the evaluation, as far as the results exist."""
    start = None
    if missing_registry() is None:
        start = steps.choose_start(config, steps.training_data(config))
    rehearse_evaluation(config, start)


REHEARSALS: dict[str, Callable[..., Any]] = {
    **FLOWS,
    "evaluate": rehearse_evaluation,
    "retrain": rehearse_retraining,
}
"""Functions that a dry run calls, by the name of their command."""

EVALUATION = ("prepare", "train", "evaluate")
"""Steps up to an evaluated model, in order."""

CHAINS = {
    "train": ("prepare", "train"),
    "tune": ("prepare", "tune"),
    "evaluate": (*EVALUATION, "report"),
    "retrain": (*EVALUATION, "register", "gate", "report"),
    "calibrate": ("prepare", "recalibrate", "evaluate", "register", "gate", "report"),
    "compare": ("prepare", "compare"),
}
"""Steps of the commands with several ones, in order."""
