"""The flow that calibrates the champion on other rows, without training it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows import retrain, steps
from flows.outcomes import CalibrateOutcome
from flows.steps import output_path
from tasks.config.root import Config
from tasks.data import group
from tasks.registry.aliases import CHAMPION
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from tasks.registry import tracking
    from tasks.runtime import model_store
    from tasks.training import recalibrate
else:
    tracking = DeferredModule("tasks.registry.tracking")
    model_store = DeferredModule("tasks.runtime.model_store")
    recalibrate = DeferredModule("tasks.training.recalibrate")


def calibrate(
    config: Config, input: str | None = None, version: str = CHAMPION
) -> CalibrateOutcome:
    """Rank a version's scores among other calibration rows; register the outcome.

    It becomes champion if the gate finds its p-values nearer to uniform.

    Args:
        config: Configuration that the version was trained with.
        input: Dataset of rows that the version was not trained on; by default, the
            rows of `data.path` that `data.split` holds out for calibration.
        version: Number or alias of a registered version.
    """
    model = steps.fetch_model(config, version)
    path = None if input is None else steps.input_path(config, input)
    data = recalibrate.calibration_data(
        steps.training_data(config)
        if path is None
        else group.grouped_data(config.prepared_data, path),
        path,
        model.folder,
    )
    prepared = steps.prepare_data(
        data,
        output_path(config, "prepared"),
        config.resources,
        encoder=model_store.load(model.folder).encoder,
    )
    calibrated = steps.recalibrate_model(
        model.folder,
        prepared.path,
        output_path(config, "models"),
        model.info.version,
    )
    start = calibrated.fingerprint
    with steps.mlflow_run(config, prepared, start, "calibrate") as run_id:
        evaluated = retrain.evaluated_model(config, prepared, calibrated)
        tracking.log_metrics(run_id, evaluated.metrics)
        verdict, page, decision = retrain.registered_model(
            config, prepared, calibrated, evaluated, run_id, data.path
        )
    return CalibrateOutcome(
        status="done" if decision.promoted else "refused",
        model=model.info,
        prepare=prepared,
        calibrate=calibrated,
        evaluate=evaluated,
        gate=verdict,
        report=page,
        register=decision,
        run_id=run_id,
    )
