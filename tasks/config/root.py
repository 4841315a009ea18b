"""The complete configuration, as one YAML file holds it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.config.alerts import AlertsConfig
from tasks.config.data import DataConfig
from tasks.config.data_validation import DataValidationConfig
from tasks.config.embed import EmbedConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.fidelity import FidelityConfig
from tasks.config.gate import GateConfig
from tasks.config.impute import ImputeConfig
from tasks.config.model import AnyModelConfig, model_config
from tasks.config.model_card import ModelCardConfig
from tasks.config.monitor import MonitorConfig
from tasks.config.replay import ReplayConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.schedules import SchedulesConfig
from tasks.config.score import ScoreConfig
from tasks.config.section import Section
from tasks.config.train import TrainConfig
from tasks.config.tune import TuneConfig


class Config(Section):
    """A dataset, the model of it, and all work with that model.

    The sections before `alerts` determine results. `alerts`, `schedules` and
    `resources` say who is told, and when and where work runs, and never enter a job
    key.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    """Name of the registered model and of the directory of results."""

    data: DataConfig
    data_validation: DataValidationConfig = DataValidationConfig()
    model: AnyModelConfig = model_config()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    fidelity: FidelityConfig = FidelityConfig()
    gate: GateConfig = GateConfig()
    score: ScoreConfig = ScoreConfig()
    monitor: MonitorConfig = MonitorConfig()
    sample: SampleConfig = SampleConfig()
    impute: ImputeConfig = ImputeConfig()
    embed: EmbedConfig = EmbedConfig()
    replay: ReplayConfig = ReplayConfig()
    model_card: ModelCardConfig = ModelCardConfig()
    alerts: AlertsConfig = AlertsConfig()
    schedules: SchedulesConfig = SchedulesConfig()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model.family == "pixelcnn" and len(self.data.images) != 1:
            raise ValueError(
                "model.family: pixelcnn is for one image per row; name its pixels in "
                "data.images, as in {x*: {height: 28, width: 28}}, or choose another "
                "family"
            )
        return self

    @property
    def prepared_data(self) -> DataConfig:
        """Section `data` for preparation: the label is an id column, not modelled."""
        label, data = self.evaluate.label, self.data
        if label is None or label in data.id:
            return data
        exclude = tuple(name for name in data.exclude if name != label)
        return data.model_copy(update={"id": (*data.id, label), "exclude": exclude})
