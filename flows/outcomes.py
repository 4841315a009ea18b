"""Results of the flows: one frozen dataclass per flow, with one field per step.

`chainrule COMMAND --json` prints them by `dataclasses.asdict`. A step that did not run
is None.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tasks.data.prepare import PrepareResult
from tasks.evaluation.compare import ComparisonResult
from tasks.evaluation.evaluate import EvaluationResult
from tasks.evaluation.fidelity.fidelity import FidelityResult
from tasks.inference.backfill import BackfillResult
from tasks.inference.embed import EmbedResult
from tasks.inference.export import ExportResult
from tasks.inference.impute import ImputeResult
from tasks.inference.sample import SampleResult
from tasks.inference.score import ScoreResult
from tasks.monitoring.monitor import MonitorResult
from tasks.registry.data_validation import ValidationResult
from tasks.registry.downloads import ModelInfo
from tasks.registry.gate.gate import GateResult
from tasks.registry.promotion import AliasState, Promotion
from tasks.training.train import TrainResult
from tasks.training.tuning import TuneResult
from tasks.training.warm_start import StartingPoint

Json = dict[str, Any]
"""A JSON object."""

Status = Literal["done", "refused", "drift"]
"""How a flow ended: as asked, with the data or the new model refused, or with drift."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a flow.

    Attributes:
        status: How the flow ended.
    """

    status: Status = "done"

    def summary(self) -> str:
        """Return the outcome in one sentence, for states and notifications."""
        return self.status


@dataclass(frozen=True, kw_only=True)
class PrepareOutcome(Outcome):
    """Result of preparing a dataset.

    Attributes:
        prepare: The prepared dataset.
    """

    prepare: PrepareResult


@dataclass(frozen=True, kw_only=True)
class TrainOutcome(PrepareOutcome):
    """Result of training a model without registering it.

    Attributes:
        train: The trained model.
    """

    train: TrainResult


@dataclass(frozen=True, kw_only=True)
class TuneOutcome(PrepareOutcome):
    """Result of a search for better settings.

    Attributes:
        tune: The trials and the best settings.
        run_id: Id of the MLflow run, which has a nested run for each trial.
    """

    tune: TuneResult
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

    evaluate: EvaluationResult
    report: str
    fidelity: FidelityResult | None = None


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

    start: StartingPoint
    prepare: PrepareResult
    data_validation: ValidationResult
    train: TrainResult | None = None
    evaluate: EvaluationResult | None = None
    fidelity: FidelityResult | None = None
    gate: GateResult | None = None
    report: str | None = None
    register: Promotion | None = None
    backfill: BackfillResult | None = None
    run_id: str | None = None
    unchanged: bool = False

    def summary(self) -> str:
        """Return which version has which alias, or why the data was refused."""
        if self.register is None:
            return f"data validation failed: {self.data_validation.reason}"
        promotion = self.register
        return f"{promotion.uri} is {promotion.alias}: {promotion.reason}"


@dataclass(frozen=True, kw_only=True)
class ScoreOutcome(Outcome):
    """Result of scoring a dataset.

    Attributes:
        model: The registered version that scored.
        score: The scored rows.
    """

    model: ModelInfo
    score: ScoreResult

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

    model: ModelInfo
    backfill: BackfillResult

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

    model: ModelInfo
    monitor: MonitorResult
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

    models: tuple[ModelInfo, ModelInfo]
    compare: ComparisonResult
    run_id: str


@dataclass(frozen=True, kw_only=True)
class SampleOutcome(Outcome):
    """Result of drawing synthetic rows.

    Attributes:
        model: The registered version that was drawn from.
        sample: The synthetic rows.
    """

    model: ModelInfo
    sample: SampleResult

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

    model: ModelInfo
    impute: ImputeResult


@dataclass(frozen=True, kw_only=True)
class EmbedOutcome(Outcome):
    """Result of computing features of rows.

    Attributes:
        model: The registered version that computed them.
        embed: The features.
    """

    model: ModelInfo
    embed: EmbedResult


@dataclass(frozen=True, kw_only=True)
class ExportOutcome(Outcome):
    """Result of writing a model as an ONNX file.

    Attributes:
        model: The registered version that was exported.
        export: The file.
    """

    model: ModelInfo
    export: ExportResult


@dataclass(frozen=True, kw_only=True)
class AliasOutcome(Outcome, AliasState):
    """Result of a promotion or a rollback."""


def written_rows(result: ScoreResult | BackfillResult | SampleResult) -> str:
    """Return how many rows a step wrote, and where."""
    return f"{result.rows_out:,} rows in {result.path}"
