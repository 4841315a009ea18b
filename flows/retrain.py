"""Flows from raw data to a registered model, whole or up to a step.

Each function is run as a flow by `flows.steps.as_flow`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flows import batch, steps
from flows.outcomes import (
    EvaluateOutcome,
    PrepareOutcome,
    RetrainOutcome,
    TrainOutcome,
)
from flows.steps import output_path
from tasks.config.root import Config
from tasks.runtime import storage
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from tasks.data.prepare import PrepareResult
    from tasks.evaluation.evaluate import EvaluationResult
    from tasks.evaluation.fidelity.fidelity import FidelityResult
    from tasks.registry import data_validation, tracking
    from tasks.registry.gate.gate import GateResult
    from tasks.registry.promotion import Promotion
    from tasks.registry.registration import Registration
    from tasks.training.recalibrate import RecalibrateResult
    from tasks.training.train import TrainResult
else:
    data_validation = DeferredModule("tasks.registry.data_validation")
    tracking = DeferredModule("tasks.registry.tracking")

logger = logging.getLogger(__name__)


def prepare(config: Config) -> PrepareOutcome:
    """Read, check, split and encode the dataset."""
    return PrepareOutcome(prepare=steps.prepared_data(config))


def train(config: Config) -> TrainOutcome:
    """Prepare the dataset and train a model on it."""
    prepared = steps.prepared_data(config)
    return TrainOutcome(prepare=prepared, train=trained_model(config, prepared))


def evaluate(config: Config) -> EvaluateOutcome:
    """Prepare the dataset, train a model and evaluate it on held-out rows.

    Where the section fidelity asks for it, synthetic rows are compared with real ones.
    """
    prepared = steps.prepared_data(config)
    config = steps.resolved_config(config, prepared)
    trained = trained_model(config, prepared)
    evaluated = evaluated_model(config, prepared, trained)
    page = written_report(config, prepared, trained, evaluated)
    fidelity = None
    if config.fidelity.samples is not None:
        start = steps.choose_start(config, steps.training_data(config))
        with steps.mlflow_run(config, prepared, start.version) as run_id:
            fidelity = compared_samples(config, prepared, trained, run_id)
    return EvaluateOutcome(
        prepare=prepared,
        train=trained,
        evaluate=evaluated,
        report=page,
        fidelity=fidelity,
    )


def retrain(config: Config) -> RetrainOutcome:
    """Prepare, train, evaluate and register a model; the better one becomes champion.

    Nothing is trained where data validation fails.
    """
    start = steps.choose_start(config, steps.training_data(config))
    prepared = steps.prepared_data(config, start.encoder())
    reference = data_validation.champion_dataset(config.name)
    validation = steps.validate_data(prepared.path, reference, config.data_validation)
    steps.publish_checks(config.name, "data_validation", validation)
    if not validation.passed:
        return RetrainOutcome(
            status="refused",
            start=start,
            prepare=prepared,
            data_validation=validation,
        )
    config = steps.resolved_config(config, prepared, start)
    with steps.mlflow_run(config, prepared, start.version) as run_id:
        data_validation.log_description(run_id, prepared.path)
        trained = trained_model(
            config, prepared, tracking.metrics_logger(run_id), start.folder
        )
        evaluated = evaluated_model(config, prepared, trained)
        tracking.log_metrics(run_id, evaluated.metrics)
        fidelity = compared_samples_or_none(config, prepared, trained, run_id)
        verdict, page, decision = registered_model(
            config, prepared, trained, evaluated, run_id
        )
    backfill = steps.as_flow(batch.backfill)
    scored = backfill(config) if config.score.after_retrain else None
    return RetrainOutcome(
        status="done" if decision.promoted else "refused",
        start=start,
        prepare=prepared,
        data_validation=validation,
        train=trained,
        evaluate=evaluated,
        fidelity=fidelity,
        gate=verdict,
        report=page,
        register=decision,
        backfill=scored.backfill if scored else None,
        run_id=run_id,
        unchanged=verdict.done and all((prepared.done, trained.done, evaluated.done)),
    )


def trained_model(
    config: Config,
    prepared: PrepareResult,
    on_metrics: Callable[[Mapping[str, float]], None] | None = None,
    start: str | None = None,
) -> TrainResult:
    """Train a model on a prepared dataset.

    Args:
        config: Configuration of the model and its training.
        prepared: Result of preparing the dataset.
        on_metrics: Called with the metrics of every epoch.
        start: Folder of the model to start from; by default, weights are drawn anew.
    """
    return steps.train_model(
        prepared.path,
        config.model,
        config.train,
        output_path(config, "models"),
        config.resources,
        start=start,
        checkpoints=storage.join(config.resources.storage, config.name, "training"),
        on_metrics=on_metrics,
    )


def evaluated_model(
    config: Config, prepared: PrepareResult, trained: TrainResult | RecalibrateResult
) -> EvaluationResult:
    """Evaluate a trained model on the held-out rows of a prepared dataset."""
    return steps.evaluate_model(
        trained.path,
        prepared.path,
        output_path(config, "evaluations"),
        config.evaluate,
        config.resources,
    )


def compared_samples(
    config: Config, prepared: PrepareResult, trained: TrainResult, run_id: str
) -> FidelityResult | None:
    """Compare synthetic rows with real ones and log the metrics.

    Returns:
        The result of `measure_fidelity`, or None if the configuration names no samples.
    """
    if config.fidelity.samples is None:
        return None
    compared = steps.compare_samples(
        trained.path,
        prepared.path,
        output_path(config, "fidelity"),
        config.fidelity,
        name=config.name,
    )
    tracking.log_results(run_id, compared.metrics, artifacts=[compared.page])
    return compared


def compared_samples_or_none(
    config: Config, prepared: PrepareResult, trained: TrainResult, run_id: str
) -> FidelityResult | None:
    """Compare synthetic rows as `compared_samples` does; a failure is a warning.

    The comparison informs about a model and does not decide its registration.
    """
    try:
        return compared_samples(config, prepared, trained, run_id)
    except Exception as error:  # whatever unforeseen values may raise
        reason = f"{type(error).__name__}: {error}"
        logger.warning("samples were not compared: %s", reason, exc_info=True)
        return None


def registered_model(
    config: Config,
    prepared: PrepareResult,
    trained: TrainResult | RecalibrateResult,
    evaluated: EvaluationResult,
    run_id: str,
    source: str | None = None,
) -> tuple[GateResult, str, Promotion]:
    """Register a model, run the gate, write the report, and decide on the champion.

    Args:
        config: Configuration of the model.
        prepared: Result of preparing the dataset that it was evaluated on.
        trained: The model.
        evaluated: Its evaluation.
        run_id: MLflow run that the model, the report and figures are logged to.
        source: Path of that dataset; by default, `data.path`.

    Returns:
        The verdict of the gate, the path of the report and the decision.
    """
    registered = steps.register_model(
        config.name,
        trained.path,
        evaluated.path,
        prepared.path,
        run_id,
        tags=steps.provenance_tags(),
        source=source or config.data.path,
        card=config.model_card,
    )
    verdict = judged_challenger(config, prepared, trained, registered)
    page = written_report(config, prepared, trained, evaluated, verdict.path)
    figures = storage.join(evaluated.path, "figures")
    tracking.log_results(run_id, {}, artifacts=[page, figures])
    decision = steps.decide_champion(config.name, registered.version, verdict, run_id)
    return verdict, page, decision


def judged_challenger(
    config: Config,
    prepared: PrepareResult,
    trained: TrainResult | RecalibrateResult,
    registered: Registration,
) -> GateResult:
    """Run the gate on a registered model, against the incumbent if there is one.

    The checks are published as a table artifact of the flow run.
    """
    incumbent = registered.incumbent_uri
    folder = None
    if incumbent is not None:
        model = steps.download_model(incumbent, config.resources.storage)
        folder = model.folder
    verdict = steps.judge_challenger(
        trained.path,
        folder,
        prepared.path,
        output_path(config, "gates"),
        config.gate,
        logged=registered.uri,
    )
    steps.publish_checks(config.name, "gate", verdict)
    return verdict


def written_report(
    config: Config,
    prepared: PrepareResult,
    trained: TrainResult | RecalibrateResult,
    evaluated: EvaluationResult,
    verdict: str | None = None,
) -> str:
    """Write the HTML report of a model beside its evaluation.

    Args:
        config: Configuration with the model's name and the rule for anomalies.
        prepared: Result of preparing the dataset.
        trained: Result of training the model.
        evaluated: Result of evaluating the model.
        verdict: Folder of the gate's verdict, if the gate has run.

    Returns:
        The path of the report.
    """
    return steps.write_report(
        trained.path,
        prepared.path,
        evaluated.path,
        evaluated.path,
        name=config.name,
        gate=verdict,
        config=config.score,
    )
