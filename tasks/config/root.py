"""The complete configuration, as one YAML file holds it."""

from typing import Annotated

from pydantic import Field, model_validator

from tasks.config.data import DataConfig
from tasks.config.data_validation import DataValidationConfig
from tasks.config.embed import EmbedConfig
from tasks.config.evaluate import EvaluateConfig
from tasks.config.fidelity import FidelityConfig
from tasks.config.gate import GateConfig
from tasks.config.impute import ImputeConfig
from tasks.config.model import MadeConfig, ModelConfig
from tasks.config.model_card import ModelCardConfig
from tasks.config.monitor import MonitorConfig
from tasks.config.replay import ReplayConfig
from tasks.config.resources import Resources
from tasks.config.sample import SampleConfig
from tasks.config.schedules import SchedulesConfig
from tasks.config.score import ScoreConfig
from tasks.config.section import Section
from tasks.config.train import TrainConfig


class Config(Section):
    """A dataset and what to do with it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="of the registered model and of the folders of results"
    )
    data: DataConfig
    data_validation: DataValidationConfig = DataValidationConfig()
    model: ModelConfig = MadeConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    fidelity: FidelityConfig = FidelityConfig()
    gate: GateConfig = GateConfig()
    score: ScoreConfig = ScoreConfig()
    monitor: MonitorConfig = MonitorConfig()
    sample: SampleConfig = SampleConfig()
    embed: EmbedConfig = EmbedConfig()
    model_card: ModelCardConfig = ModelCardConfig()
    schedules: SchedulesConfig = SchedulesConfig()
    impute: ImputeConfig = ImputeConfig()
    replay: ReplayConfig = ReplayConfig()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if self.model.family == "pixelcnn" and len(self.data.images) != 1:
            raise ValueError(
                "model.family: pixelcnn is for one image per row; say under "
                "data.images which columns are its pixels, as in {x*: {height: 28, "
                "width: 28}}, or choose another family"
            )
        return self

    @property
    def learned(self) -> DataConfig:
        """The dataset as it is prepared: a label is carried along, not modelled."""
        label, data = self.evaluate.label, self.data
        if label is None or label in data.id:
            return data
        exclude = tuple(name for name in data.exclude if name != label)
        return data.model_copy(update={"id": (*data.id, label), "exclude": exclude})
