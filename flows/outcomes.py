"""Results of the flows: one frozen dataclass per flow, with one field per step.

`chainrule COMMAND --json` prints them by `dataclasses.asdict`. A step that did not run
is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tasks.registry.alias_state import AliasState
from tasks.runtime.deferred import DeferredModule
from tasks.runtime.dry_runs import JobPlan

if TYPE_CHECKING:
    from tasks.data import prepare as prepare_job
    from tasks.evaluation import compare as compare_job
    from tasks.evaluation import evaluate as evaluate_job
    from tasks.evaluation.fidelity import fidelity as fidelity_job
    from tasks.inference import ask as ask_job
    from tasks.inference import backfill as backfill_job
    from tasks.inference import embed as embed_job
    from tasks.inference import export as export_job
    from tasks.inference import impute as impute_job
    from tasks.inference import sample as sample_job
    from tasks.inference import score as score_job
    from tasks.monitoring import monitor as monitor_job
    from tasks.registry import data_validation as data_validation_job
    from tasks.registry import downloads, promotion
    from tasks.registry.gate import gate as gate_job
    from tasks.training import recalibrate, tuning, warm_start
    from tasks.training import train as train_job
else:  # Each is imported by the steps that return its results.
    prepare_job = DeferredModule("tasks.data.prepare")
    compare_job = DeferredModule("tasks.evaluation.compare")
    evaluate_job = DeferredModule("tasks.evaluation.evaluate")
    fidelity_job = DeferredModule("tasks.evaluation.fidelity.fidelity")
    ask_job = DeferredModule("tasks.inference.ask")
    backfill_job = DeferredModule("tasks.inference.backfill")
    embed_job = DeferredModule("tasks.inference.embed")
    export_job = DeferredModule("tasks.inference.export")
    impute_job = DeferredModule("tasks.inference.impute")
    sample_job = DeferredModule("tasks.inference.sample")
    score_job = DeferredModule("tasks.inference.score")
    monitor_job = DeferredModule("tasks.monitoring.monitor")
    data_validation_job = DeferredModule("tasks.registry.data_validation")
    downloads = DeferredModule("tasks.registry.downloads")
    gate_job = DeferredModule("tasks.registry.gate.gate")
    promotion = DeferredModule("tasks.registry.promotion")
    train_job = DeferredModule("tasks.training.train")
    recalibrate = DeferredModule("tasks.training.recalibrate")
    tuning = DeferredModule("tasks.training.tuning")
    warm_start = DeferredModule("tasks.training.warm_start")

Json = dict[str, Any]
"""A JSON object."""

Status = Literal["done", "refused", "drift"]
"""Outcome of a flow: as asked, the data or the new model refused, or drift."""


@dataclass(frozen=True)
class Alert:
    """A message about a result to one receiver.

    Attributes:
        receiver: `webhook`, or the name of a Prefect block.
        message: Its first line.
        error: Why it could not be sent; None if it was.
    """

    receiver: str
    message: str
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a flow.

    Attributes:
        status: How the flow ended.
        alerts: Messages about the results that were sent, or could not be.
    """

    status: Status = "done"
    alerts: tuple[Alert, ...] = ()

    def summary(self) -> str:
        """Return the outcome in one sentence, for states and notifications."""
        return self.status


@dataclass(frozen=True, kw_only=True)
class DryRunOutcome(Outcome):
    """Result of a dry run: the jobs that a command would run.

    Attributes:
        jobs: What its jobs would do, up to the first one that is not finished.
        later: Names of the steps that depend on the results of these jobs.
    """

    jobs: tuple[JobPlan, ...]
    later: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PrepareOutcome(Outcome):
    """Result of preparing a dataset.

    Attributes:
        prepare: The prepared dataset.
    """

    prepare: prepare_job.PrepareResult


@dataclass(frozen=True, kw_only=True)
class TrainOutcome(PrepareOutcome):
    """Result of training a model without registering it.

    Attributes:
        train: The trained model.
    """

    train: train_job.TrainResult


@dataclass(frozen=True, kw_only=True)
class TuneOutcome(PrepareOutcome):
    """Result of a search for better settings.

    Attributes:
        tune: The trials and the best settings.
        run_id: Id of the MLflow run, which has a nested run for each trial.
    """

    tune: tuning.TuneResult
    run_id: str

    def summary(self) -> str:
        """Return the gain, and where the best configuration is."""
        return f"{self.tune.gain:.4f} nats per row gained by {self.tune.config}"


@dataclass(frozen=True, kw_only=True)
class EvaluateOutcome(TrainOutcome):
    """Result of training and evaluating a model without registering it.

    Attributes:
        evaluate: The evaluation on held-out rows.
        report: Path of the HTML report.
        fidelity: The comparison of synthetic with real rows, if configured.
    """

    evaluate: evaluate_job.EvaluationResult
    report: str
    fidelity: fidelity_job.FidelityResult | None = None


@dataclass(frozen=True, kw_only=True)
class RetrainOutcome(Outcome):
    """Result of a retraining, which ends early if data validation fails.

    Attributes:
        start: The model that training started from.
        prepare: The prepared dataset.
        data_validation: The result of data validation.
        train: The trained model.
        evaluate: The evaluation on held-out rows.
        fidelity: The comparison of synthetic with real rows, if configured.
        gate: The verdict of the gate.
        report: Path of the HTML report.
        register: The registered version and its alias.
        backfill: The scored partitions, if `score.after_retrain` is set.
        run_id: Id of the MLflow run.
        unchanged: Whether every step was already done by an earlier retraining.
    """

    start: warm_start.StartingPoint
    prepare: prepare_job.PrepareResult
    data_validation: data_validation_job.ValidationResult
    train: train_job.TrainResult | None = None
    evaluate: evaluate_job.EvaluationResult | None = None
    fidelity: fidelity_job.FidelityResult | None = None
    gate: gate_job.GateResult | None = None
    report: str | None = None
    register: promotion.Promotion | None = None
    backfill: backfill_job.BackfillResult | None = None
    run_id: str | None = None
    unchanged: bool = False

    def summary(self) -> str:
        """Return which version has which alias, or why the data was refused."""
        if self.register is None:
            return f"data validation failed: {self.data_validation.reason}"
        promotion = self.register
        return f"{promotion.uri} is {promotion.alias}: {promotion.reason}"


@dataclass(frozen=True, kw_only=True)
class CalibrateOutcome(Outcome):
    """Result of calibrating a registered version on other rows.

    Attributes:
        model: The version that was calibrated.
        prepare: The prepared dataset with the calibration rows.
        calibrate: The model with the new calibration rows.
        evaluate: Its evaluation on held-out rows of the same dataset.
        gate: The verdict of the gate.
        report: Path of the HTML report.
        register: The registered version and its alias.
        run_id: Id of the MLflow run.
    """

    model: downloads.ModelInfo
    prepare: prepare_job.PrepareResult
    calibrate: recalibrate.RecalibrateResult
    evaluate: evaluate_job.EvaluationResult
    gate: gate_job.GateResult
    report: str
    register: promotion.Promotion
    run_id: str

    def summary(self) -> str:
        """Return which version has which alias, and why."""
        return f"{self.register.uri} is {self.register.alias}: {self.register.reason}"


@dataclass(frozen=True, kw_only=True)
class ScoreOutcome(Outcome):
    """Result of scoring a dataset.

    Attributes:
        model: The registered version that scored.
        score: The scored rows.
    """

    model: downloads.ModelInfo
    score: score_job.ScoreResult

    def summary(self) -> str:
        """Return how many rows were written, and where."""
        return written_rows(self.score)


@dataclass(frozen=True, kw_only=True)
class BackfillOutcome(Outcome):
    """Result of scoring the partitions of a dataset.

    Attributes:
        model: The registered version that scored.
        backfill: The scored partitions.
    """

    model: downloads.ModelInfo
    backfill: backfill_job.BackfillResult

    def summary(self) -> str:
        """Return how many rows were written, and where."""
        return written_rows(self.backfill)


@dataclass(frozen=True, kw_only=True)
class MonitorOutcome(Outcome):
    """Result of comparing new rows with the reference data of a model.

    Attributes:
        model: The registered version that was compared with.
        monitor: The verdict and its reasons.
        run_id: Id of the MLflow run.
    """

    model: downloads.ModelInfo
    monitor: monitor_job.MonitorResult
    run_id: str

    def summary(self) -> str:
        """Return the verdict and the number of compared rows."""
        return f"{self.monitor.verdict}: {self.monitor.rows_out:,} rows"


@dataclass(frozen=True, kw_only=True)
class CompareOutcome(Outcome):
    """Result of comparing two registered versions.

    Attributes:
        models: The two versions.
        compare: The comparison.
        run_id: Id of the MLflow run.
    """

    models: tuple[downloads.ModelInfo, downloads.ModelInfo]
    compare: compare_job.ComparisonResult
    run_id: str


@dataclass(frozen=True, kw_only=True)
class SampleOutcome(Outcome):
    """Result of drawing synthetic rows.

    Attributes:
        model: The registered version that was drawn from.
        sample: The synthetic rows.
    """

    model: downloads.ModelInfo
    sample: sample_job.SampleResult

    def summary(self) -> str:
        """Return how many rows were written, and where."""
        return written_rows(self.sample)


@dataclass(frozen=True, kw_only=True)
class ImputeOutcome(Outcome):
    """Result of filling the nulls of a dataset.

    Attributes:
        model: The registered version that filled them.
        impute: The filled rows.
    """

    model: downloads.ModelInfo
    impute: impute_job.ImputeResult


@dataclass(frozen=True, kw_only=True)
class EmbedOutcome(Outcome):
    """Result of computing features of rows.

    Attributes:
        model: The registered version that computed them.
        embed: The features.
    """

    model: downloads.ModelInfo
    embed: embed_job.EmbedResult


@dataclass(frozen=True, kw_only=True)
class ExportOutcome(Outcome):
    """Result of writing a model as an ONNX file.

    Attributes:
        model: The registered version that was exported.
        export: The file.
    """

    model: downloads.ModelInfo
    export: export_job.ExportResult


@dataclass(frozen=True, kw_only=True)
class AskOutcome(Outcome):
    """Result of asking for probabilities.

    Attributes:
        model: The registered version that was asked.
        ask: The answers.
    """

    model: downloads.ModelInfo
    ask: ask_job.AskResult


@dataclass(frozen=True, kw_only=True)
class AliasOutcome(Outcome, AliasState):
    """Result of a promotion or a rollback."""


def written_rows(
    result: score_job.ScoreResult
    | backfill_job.BackfillResult
    | sample_job.SampleResult,
) -> str:
    """Return how many rows a step wrote, and where."""
    return f"{result.rows_out:,} rows in {result.path}"
