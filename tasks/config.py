"""The configuration file: one YAML file, checked here, shown by Prefect as a form.

What a result *is* stands in the sections `data` to `sample`; when and where it runs
stands in `schedules` and `resources` and never enters a job key. A default appears
once, here. This module imports nothing heavy: the command line reads it before it
loads torch or Ray.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

Share = Annotated[float, Field(ge=0, lt=1)]
OrderingName = (
    Literal["natural", "random", "dependence", "raster", "column", "spiral"]
    | tuple[str, ...]
)
"""How columns are taken: as they come, shuffled, along the dependences in the train
rows, or starting with those that are named. The pixels of images: row by row, column by
column, or from the rim to the middle."""


def _share_or_count(budget: float) -> float:
    if budget >= 1 and budget != int(budget):
        raise ValueError("should be a share below 1 or a whole number of rows")
    return budget


Budget = Annotated[float, Field(gt=0), AfterValidator(_share_or_count)]
"""How many rows can be looked at: a number, or a share below 1."""

RULES = ("threshold", "fdr", "budget")
"""Keys of `score` of which one at most says which rows are anomalies."""


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnConfig(Section):
    """What the user knows better than the inference about one column."""

    kind: Literal[
        "binary",
        "categorical",
        "integer",
        "real",
        "timestamp",
        "sequence",
        "leave_out",
    ]


class ImageConfig(Section):
    """A column of lists, or as many columns, that are the pixels of images.

    They stand row by row, the channels of a pixel one after the other.
    """

    height: PositiveInt = Field(description="rows of an image")
    width: PositiveInt = Field(description="columns of an image")
    channels: PositiveInt = Field(1, description="channels of a pixel")
    pixels: Literal["auto", "binary", "softmax", "mixture"] = Field(
        "auto",
        description="conditionals: of two values, of any value, or smooth in the value",
    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> int:
        """Number of values of an image."""
        return self.height * self.width * self.channels


class SplitConfig(Section):
    """How rows are divided; what the three shares leave is for training."""

    by: Literal["hash", "time"] = "hash"
    column: str | None = Field(None, description="time column, for by: time")
    valid: Share = 0.1
    calibration: Share = 0.1
    test: Share = 0.1
    seed: int = 0

    @model_validator(mode="after")
    def check(self) -> "SplitConfig":
        """Rules that several keys make together."""
        if self.by == "time" and self.column is None:
            raise ValueError("by: time needs column, the one that holds the time")
        if self.valid + self.calibration + self.test >= 1:
            raise ValueError("valid, calibration and test leave nothing for training")
        return self


class SequenceConfig(Section):
    """Which rows make up a sequence: those of one key."""

    key: str = Field(description="column that says which sequence a row belongs to")
    order: str | None = Field(
        None, description="column that says where in it; as the rows come if none"
    )


class DataConfig(Section):
    """The dataset and how its columns are to be read."""

    path: str = Field(
        description="Parquet file, folder, glob or hive dataset, local or s3://"
    )
    id: tuple[str, ...] = Field(
        (),
        description="columns carried to the output, not modelled; they tell equal rows "
        "apart when rows are split",
    )
    exclude: tuple[str, ...] = Field((), description="columns neither used nor carried")
    columns: dict[str, ColumnConfig] = Field(
        {}, description="overrides of the inferred kinds"
    )
    images: dict[str, ImageConfig] = Field(
        {}, description="by the name of a column of lists, or a pattern such as x*"
    )
    sequence: SequenceConfig | None = Field(
        None, description="if rows are the places of sequences"
    )
    split: SplitConfig = SplitConfig()
    on_bad_file: Literal["stop", "quarantine"] = "stop"
    max_categories: PositiveInt = Field(
        10_000, description="a string column with more distinct values is left out"
    )
    min_category_count: PositiveInt = Field(
        2, description="rarer categories share the place of never-seen ones"
    )


class ContractConfig(Section):
    """What a dataset must look like, against what the champion learned from."""

    on_failure: Literal["stop", "warn"] = Field(
        "stop", description="stop before training, or only say what was found"
    )
    columns: Literal["same", "grow", "any"] = Field(
        "grow",
        description="how columns may change: not at all, by new ones, or freely",
    )
    min_rows: PositiveInt = Field(1, description="rows that there must be")
    min_rows_ratio: NonNegativeFloat = Field(
        0.5, description="rows, against those of the champion's dataset"
    )
    max_quarantined: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="share of rows in quarantine"
    )
    max_null_increase: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="by how much a column's share of nulls may grow"
    )
    max_drift: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3,
        description="distance of a column's distribution from the champion's: KS for "
        "numbers, total variation for words",
    )


class MadeConfig(Section):
    """A masked network; every key is an argument of `ar_models.made.MADE`."""

    family: Literal["made"] = "made"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    hidden: PositiveInt = Field(512, description="units per hidden layer")
    layers: PositiveInt = Field(2, description="hidden layers, or residual blocks")
    residual: bool = True
    direct: bool = Field(
        False, description="add a linear map from inputs to outputs, for small data"
    )
    orderings: PositiveInt = Field(1, description="orderings, averaged when scoring")
    ordering: OrderingName = "natural"
    masks: PositiveInt = Field(
        1, description="connectivity masks of each ordering, averaged when scoring"
    )
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    dropout: Share = 0.0
    seed: int = Field(0, description="of random orderings and masks")


class FvsbnConfig(Section):
    """A regression per variable; keys are arguments of `ar_models.fvsbn.FVSBN`."""

    family: Literal["fvsbn"] = "fvsbn"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    orderings: PositiveInt = Field(1, description="orderings, averaged when scoring")
    ordering: OrderingName = "natural"
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    seed: int = Field(0, description="of random orderings")


class NadeConfig(Section):
    """Tied weights; every key is an argument of `ar_models.nade.NADE`."""

    family: Literal["nade"] = "nade"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    hidden: PositiveInt = Field(512, description="hidden units")
    activation: Literal["relu", "sigmoid"] = "relu"
    rescale: bool = Field(
        False, description="learn a scale of the pre-activation at each position"
    )
    orderings: PositiveInt = Field(1, description="orderings, averaged when scoring")
    ordering: OrderingName = "natural"
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    dropout: Share = Field(0.0, description="share of hidden units left out")
    seed: int = Field(0, description="of random orderings")


class EonadeConfig(Section):
    """Any order; every key is an argument of `ar_models.eonade.EoNADE`."""

    family: Literal["eonade"] = "eonade"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    hidden: PositiveInt = Field(512, description="units per hidden layer")
    layers: PositiveInt = Field(2, description="hidden layers, or residual blocks")
    residual: bool = True
    orderings: PositiveInt = Field(
        8, description="orderings, averaged when scoring; training knows all"
    )
    ordering: OrderingName = "random"
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    dropout: Share = Field(0.0, description="share of hidden units left out")
    seed: int = Field(0, description="of the orderings that score")


class PixelcnnConfig(Section):
    """Gated convolutions; keys are arguments of `ar_models.pixelcnn.PixelCNN`.

    The shape of the images is that of `data.images`.
    """

    family: Literal["pixelcnn"] = "pixelcnn"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    hidden: PositiveInt = Field(64, description="maps of each stack")
    layers: PositiveInt = Field(8, description="gated layers")
    kernel: PositiveInt = Field(5, description="width of the convolutions, odd")
    ordering: Literal["natural"] = Field(
        "natural", description="pixels are taken row by row"
    )
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which the values of pixels are embedded"
    )
    dropout: Share = Field(0.0, description="share of gated maps left out")


class RnnConfig(Section):
    """A recurrent network; every key is an argument of `ar_models.rnn.RNN`."""

    family: Literal["rnn"] = "rnn"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    hidden: PositiveInt = Field(256, description="units of the state")
    layers: PositiveInt = Field(1, description="recurrent layers")
    cell: Literal["lstm", "gru"] = "lstm"
    orderings: PositiveInt = Field(1, description="orderings, averaged when scoring")
    ordering: OrderingName = "natural"
    shared: bool = Field(
        False, description="one map for all variables, which are alike: pixels"
    )
    steps: Literal["variables", "places"] = Field(
        "variables", description="or places of the one column of lists"
    )
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    dropout: Share = Field(0.0, description="share of each layer's outputs left out")
    seed: int = Field(0, description="of random orderings")


class TransformerConfig(Section):
    """A causal transformer; keys are arguments of `ar_models.transformer`."""

    family: Literal["transformer"] = "transformer"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    hidden: PositiveInt = Field(128, description="width, a multiple of heads")
    layers: PositiveInt = Field(4, description="blocks")
    heads: PositiveInt = Field(4, description="attention heads")
    orderings: PositiveInt = Field(1, description="orderings, averaged when scoring")
    ordering: OrderingName = "natural"
    steps: Literal["variables", "places"] = Field(
        "variables", description="or places of the one column of lists"
    )
    order_agnostic: bool = Field(
        False, description="train on random orderings, so that any column can be given"
    )
    shared: bool = Field(
        False, description="one map for all variables, which are alike: pixels"
    )
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    dropout: Share = 0.0
    seed: int = Field(0, description="of random orderings")


class VaeConfig(Section):
    """A latent vector; every key is an argument of `ar_models.vae.VAE`."""

    family: Literal["vae"] = "vae"
    ensemble: PositiveInt = Field(
        1, description="networks that learn side by side and are averaged"
    )
    latent: PositiveInt = Field(32, description="length of the latent vector")
    hidden: PositiveInt = Field(512, description="units per layer")
    layers: PositiveInt = Field(1, description="residual blocks")
    decoder: Literal["independent", "made"] = Field(
        "independent", description="how variables depend on each other given the latent"
    )
    samples: PositiveInt = Field(
        64, description="importance samples of the bound that scores a row"
    )
    ordering: OrderingName = Field("natural", description="of the decoder made")
    components: PositiveInt = Field(8, description="components of each mixture")
    embedding: PositiveInt = Field(
        16, description="width in which vocabularies larger than 64 are embedded"
    )
    dropout: Share = Field(0.0, description="share of hidden units left out")
    seed: int = Field(0, description="of a random ordering and of the bound's points")


def _family(model: Any) -> Any:  # a mapping from YAML or a form, or a section
    if isinstance(model, dict | Section):
        return dict(model).get("family", "made")
    return None


ModelConfig = Annotated[
    Annotated[MadeConfig, Tag("made")]
    | Annotated[FvsbnConfig, Tag("fvsbn")]
    | Annotated[NadeConfig, Tag("nade")]
    | Annotated[EonadeConfig, Tag("eonade")]
    | Annotated[PixelcnnConfig, Tag("pixelcnn")]
    | Annotated[RnnConfig, Tag("rnn")]
    | Annotated[TransformerConfig, Tag("transformer")]
    | Annotated[VaeConfig, Tag("vae")],
    Discriminator(_family),
]
"""The settings of one family, told apart by `family`; made if it is not given."""


class TrainConfig(Section):
    """For how long and how to train."""

    start: Literal["scratch", "champion"] = Field(
        "scratch",
        description="go on from the champion's weights, with its encoder, where the "
        "columns are the same",
    )
    old_rows: PositiveFloat | None = Field(
        None,
        description="with start: champion, rows of files that it learned from for each "
        "new row, at most; all if none",
    )
    epochs: PositiveInt = 30
    batch_size: PositiveInt = Field(
        1024, description="rows per step, over all workers together"
    )
    learning_rate: PositiveFloat = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = Field(0.02, description="share of the steps with a rising rate")
    weight_decay: NonNegativeFloat = 1e-4
    l1: NonNegativeFloat = Field(
        0.0,
        description="nats per row that a unit of absolute weight costs, so that inputs "
        "which tell nothing have none: where columns are many and rows few",
    )
    clip: PositiveFloat = Field(1.0, description="greatest norm of the gradient")
    trim: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0,
        description="share of each batch, the least likely rows, from which nothing is "
        "learned after the first epoch: where the train rows hold anomalies",
    )
    noise: NonNegativeFloat = Field(
        0.0,
        description="standard deviation of noise on numbers in train, in spreads of "
        "their column: a smoother density, that no nearly exact column dominates",
    )
    mutation: Share = Field(
        0.0, description="share of values in train that another row's replace"
    )
    background: Share = Field(
        0.0,
        description="share of values that another row's replace in the rows that a "
        "second network learns from, which score.statistic: ratio compares with; 0: "
        "none, it compares with independent columns",
    )
    ema: Share = Field(
        0.0, description="decay of the averaged weights that are kept; 0 is off"
    )
    patience: PositiveInt = Field(
        5, description="epochs without a better valid NLL before training stops"
    )
    max_seconds: PositiveFloat | None = Field(
        None, description="time budget; a run that reaches it is not reproducible"
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0


class EvaluateConfig(Section):
    """How the held-out rows are judged."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    bootstrap: PositiveInt = Field(1000, description="resamples of an interval")
    baseline_rows: PositiveInt = Field(
        200_000, description="train rows that fit the independent columns, at most"
    )
    segments: tuple[str, ...] = Field(
        (), description="columns by whose values the NLL is told as well"
    )
    label: str | None = Field(
        None,
        description="column that is true for anomalies; not modelled, only judged by",
    )
    budget: Budget = Field(
        0.01, description="strangest rows of which the precision is told: count, share"
    )


class FidelityConfig(Section):
    """Whether and how synthetic rows are compared with real ones."""

    samples: str | None = Field(
        None,
        description="dataset of synthetic rows, or auto: drawn now, as many as train "
        "rows are compared; none: not done",
    )
    target: str | None = Field(
        None, description="column that is predicted after learning from synthetic rows"
    )
    rows: PositiveInt = Field(50_000, description="rows of each kind, at most")
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: int = Field(0, description="of the rows that are drawn")


class ScoreConfig(Section):
    """What is written for each scored row, and what counts as an anomaly."""

    input: str | None = Field(None, description="dataset to score; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    carry: tuple[str, ...] = Field(
        (), description="columns carried to the output besides data.id, for reading"
    )
    statistic: Literal[
        "combined",
        "density",
        "surplus",
        "excess",
        "surprisal",
        "tail",
        "leave_one_out",
        "typicality",
        "ratio",
        "margins",
        "peak",
    ] = Field("combined", description="what the anomaly score is made of")
    threshold: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        None,
        description="severity (percentile of calibration rows) of an anomaly; 99.9 if "
        "neither this nor fdr nor budget is given",
    )
    fdr: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="or the q_value of an anomaly: expected share of false alarms",
    )
    budget: Budget | None = Field(
        None,
        description="or how many rows are anomalies, the strangest: count or share; "
        "ties go by p_value, then anomaly_score, then to the earlier row",
    )
    calibrate_by: str | None = Field(
        None, description="column within whose values rows are compared"
    )
    segment_rows: PositiveInt = Field(
        1000,
        description="calibration rows that such a value needs; rarer ones use all",
    )
    missing: Literal["model", "marginalise"] = Field(
        "model",
        description="whether a null counts as a value that is missing, or as unknown",
    )
    explain: Literal["all", "flagged", "none"] = "flagged"
    explain_columns: PositiveInt = Field(3, description="columns named per row")
    column_log_prob: bool = Field(
        False, description="write each column's log_prob, of sequences each place's too"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the network's products; bf16 is faster, and rounds"
    )
    rows_per_fragment: PositiveInt = 100_000
    versions: Literal["side_by_side", "replace"] = Field(
        "side_by_side",
        description="whether partitions that are scored one by one keep the results "
        "of other versions of the model",
    )
    after_retrain: bool = Field(
        False, description="score with a new champion what it has not scored"
    )

    @model_validator(mode="after")
    def _check(self) -> "ScoreConfig":
        given = [k for k in RULES if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(
                f"only one of {', '.join(RULES)} can say what an anomaly is; "
                f"{' and '.join(given)} are set"
            )
        return self


class MonitorConfig(Section):
    """When new rows are no longer what the model learned."""

    input: str | None = Field(None, description="dataset to look at; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    max_ks: PositiveFloat | None = Field(
        0.1, description="distance of distributions above which there is drift"
    )
    max_psi: PositiveFloat | None = Field(
        0.25, description="population stability index above which there is"
    )
    max_wasserstein: PositiveFloat | None = Field(
        None, description="distance in spreads of the calibration rows above which"
    )
    ignore: tuple[str, ...] = Field(
        (), description="columns that may drift; dates and timestamps always may"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.99, description="of the intervals, which must lie above a limit"
    )
    bootstrap: PositiveInt = Field(200, description="resamples of an interval")
    rows_per_fragment: PositiveInt = 100_000


class SampleConfig(Section):
    """How many rows are drawn, given what, and from which random stream."""

    rows: PositiveInt = Field(10_000, description="how many; without `given` only")
    output: str | None = Field(None, description="folder; below the storage if none")
    seed: int = 0
    rows_per_shard: PositiveInt = 50_000
    log_prob: bool = Field(False, description="write each row's log_prob")
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="of every conditional; 1 is exact, less is likelier"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of every conditional's likeliest values; 1 is exact"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the network's products; bf16 is faster, and rounds"
    )
    given: str | None = Field(
        None, description="dataset of known columns, whose rows are completed"
    )
    per_row: PositiveInt = Field(1, description="completions of each row of `given`")
    given_missing: tuple[str, ...] = Field(
        (), description="columns of `given` where null is missing; else null is free"
    )


class ImputeConfig(Section):
    """What is written into empty cells."""

    input: str | None = Field(None, description="dataset to fill; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    method: Literal["draw", "median", "mean"] = Field(
        "draw",
        description="draw; median or mean of numbers take the likeliest category",
    )
    imputations: PositiveInt = Field(
        1, description="times that every row is filled, by draws"
    )
    details: bool = Field(
        False, description="write which cells were filled, how probably, and intervals"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="of the central intervals of numbers that are not drawn"
    )
    seed: int = 0
    rows_per_fragment: PositiveInt = 100_000

    @model_validator(mode="after")
    def check(self) -> "ImputeConfig":
        """Rules that several keys make together."""
        if self.imputations > 1 and self.method != "draw":
            raise ValueError(
                f"imputations above 1 need method draw; by {self.method} they would "
                "all be the same"
            )
        return self


class EmbedConfig(Section):
    """Of which rows the features are written."""

    input: str | None = Field(None, description="dataset; data.path if none")
    output: str | None = Field(None, description="folder; below the storage if none")
    carry: tuple[str, ...] = Field(
        (), description="columns carried to the output besides data.id, such as labels"
    )
    rows_per_fragment: PositiveInt = 100_000


class GateConfig(Section):
    """What a challenger must show before it becomes champion."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    min_improvement: float = Field(
        0.0, description="nats per row that the interval must lie above"
    )
    rows: PositiveInt = Field(
        50_000, description="newest held-out rows that are compared, at most"
    )
    min_rows: PositiveInt = Field(
        100, description="with fewer held-out rows a person has to decide"
    )
    newest: str | None = Field(
        None,
        description="column whose greatest values are the newest rows; "
        "data.split.column if none, or else the order of the files",
    )
    segments: tuple[str, ...] = Field(
        (), description="columns in each value of which it must not be worse"
    )
    segment_rows: PositiveInt = Field(
        200, description="values with fewer rows are not looked at"
    )
    segment_margin: PositiveFloat = Field(
        0.5, description="nats per row that a segment may lose, with confidence"
    )
    column_margin: PositiveFloat = Field(
        0.5, description="nats per row that a column may lose, with confidence"
    )
    calibration_margin: NonNegativeFloat = Field(
        0.05, description="by how much KS distances from uniform may grow"
    )
    min_diversity: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="different scores per different row"
    )
    max_slowdown: PositiveFloat = Field(
        3.0, description="work to score a row, against the champion"
    )
    max_growth: PositiveFloat = Field(
        4.0, description="bytes of weights, against the champion"
    )
    load: Literal["none", "process", "clean"] = Field(
        "process",
        description="load the version as a consumer: in a process without this "
        "project, or in a fresh environment with its requirements, which takes minutes",
    )


class ReplayConfig(Section):
    """How a dataset's history is replayed."""

    path: str | None = Field(
        None, description="dataset whose partitions are replayed; data.path if none"
    )
    window: PositiveInt | None = Field(
        None,
        description="partitions, the newest, that a model learns from; all if none",
    )
    rows: PositiveInt | None = Field(
        None, description="rows of each file that are kept, evenly chosen; all if none"
    )


class CardConfig(Section):
    """What only a person knows about a model, for the card of its versions."""

    description: str | None = Field(None, description="what the rows are")
    licence: str | None = Field(None, description="of the model")
    limits: str | None = Field(None, description="what it should not be used for")


class Schedule(Section):
    """When a deployment runs: by cron, at an interval or by an RRULE."""

    cron: str | None = Field(None, description="such as 0 3 * * *")
    interval: PositiveFloat | None = Field(
        None, description="seconds, counted from 2020-01-01 00:00"
    )
    rrule: str | None = Field(None, description="such as FREQ=MONTHLY;BYMONTHDAY=1")
    timezone: str = Field("UTC", description="such as Europe/Berlin")
    active: bool = True
    timeout_seconds: PositiveFloat | None = Field(
        None, description="after which a run is stopped and has failed"
    )

    @model_validator(mode="after")
    def check(self) -> "Schedule":
        """Rules that several keys make together."""
        given = [k for k in ("cron", "interval", "rrule") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(
                f"one of cron, interval and rrule is needed, given are {given}"
            )
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone: {self.timezone!r} is not known; say one such as "
                "Europe/Berlin"
            ) from error
        return self


class SchedulesConfig(Section):
    """What `chainrule deploy` creates: deployments, and how they run."""

    retrain: Schedule | None = Field(None, description="when to retrain")
    score: Schedule | None = Field(None, description="when to score what is new")
    monitor: Schedule | None = Field(None, description="when to look for drift")
    sample: Schedule | None = Field(None, description="when to draw synthetic rows")
    pool: str = Field("chainrule", description="work pool; made if there is none")
    pool_type: Literal["process", "kubernetes"] = Field(
        "process", description="of the work pool, if it is made"
    )
    job_variables: dict[str, str] = Field(
        {}, description="for the jobs of the pool, such as an image"
    )
    when_running: Literal["cancel", "queue"] = Field(
        "cancel", description="what becomes of a run that finds another one running"
    )
    retrain_after_drift: PositiveInt | None = Field(
        None,
        description="batches in a row that drifted, as the monitor sees it, after "
        "which a retraining starts by itself",
    )
    notify: tuple[str, ...] = Field(
        (),
        description="Prefect blocks that are told of failures and refusals, such as "
        "slack-webhook/team or webhook/pager",
    )

    @model_validator(mode="after")
    def check(self) -> "SchedulesConfig":
        """Rules that several keys make together."""
        if self.retrain_after_drift and not (self.retrain and self.monitor):
            raise ValueError(
                "retrain_after_drift needs the schedules monitor and retrain (which "
                "may have active: false)"
            )
        return self


def _countable(gpus: float) -> float:
    """Ray counts parts of a GPU in steps of 0.0001."""
    if 0 < gpus < 1e-4:
        raise ValueError(f"must be 0 or at least 0.0001, got {gpus}")
    return gpus


class Resources(Section):
    """Where the work runs; never a part of what a result is."""

    storage: str = Field(
        ".chainrule", description="root of all artifacts, local or s3://"
    )
    workers: PositiveInt = Field(1, description="training processes")
    gpus_per_worker: NonNegativeInt = 0
    gpus_per_process: Annotated[
        float, Field(ge=0, le=1), AfterValidator(_countable)
    ] = Field(
        0.0,
        description="part of a GPU for each process that scores, draws or judges rows",
    )
    cpus_per_worker: PositiveInt | None = Field(
        None, description="threads per training process; all, shared out, if none"
    )
    max_failures: NonNegativeInt = Field(
        3, description="how often a dead training worker is replaced"
    )
    checkpoint_seconds: PositiveFloat = Field(
        60.0, description="training that a crash may cost, in seconds"
    )


class Config(Section):
    """A dataset and what to do with it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] = Field(
        description="of the registered model and of the folders of results"
    )
    data: DataConfig
    contract: ContractConfig = ContractConfig()
    model: ModelConfig = MadeConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    fidelity: FidelityConfig = FidelityConfig()
    gate: GateConfig = GateConfig()
    score: ScoreConfig = ScoreConfig()
    monitor: MonitorConfig = MonitorConfig()
    sample: SampleConfig = SampleConfig()
    embed: EmbedConfig = EmbedConfig()
    card: CardConfig = CardConfig()
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


def load(path: Path, overrides: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """The checked configuration in a YAML file.

    Args:
        path: The file.
        overrides: Values that replace those of the file, by dotted key such as
            `data.path`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML or breaks the rules; the message names file, key,
            value and what would do.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a mapping with the keys name and data is needed")
    for key, value in overrides.items():
        replace(content, key, value)
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ValueError(describe(path, error)) from error


def replace(content: dict[str, Any], key: str, value: Any) -> None:  # YAML values
    """Sets the value of a dotted key; sections on the way are made as needed."""
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ValueError(f"{key}: {section} is not a section, so it has no {last}")
    content[last] = value


def describe(path: Path, error: ValidationError) -> str:
    """One line per mistake: the key, what was wrong with it, what was given."""
    lines = [f"{path}:"]
    for problem in error.errors():
        key = _key(problem["loc"])
        given: Any = problem["input"]
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {key}: no such key; see chainrule --help-config")
        elif problem["type"] == "missing":
            lines.append(f"  {key}: is required")
        elif problem["type"] == "union_tag_not_found":
            lines.append(f"  {key}: should be a mapping with a family, got {given!r}")
        elif problem["type"] == "union_tag_invalid":
            context = problem["ctx"]
            lines.append(
                f"  {key}.family: should be one of {context['expected_tags']}, "
                f"got {context['tag']!r}"
            )
        else:
            said = problem["msg"].removeprefix("Value error, ")
            lines.append(f"  {key}: {said[:1].lower()}{said[1:]}, got {given!r}")
    return "\n".join(lines)


def _key(location: tuple[int | str, ...]) -> str:
    """A dotted key as the user wrote it, without families and types of a union."""
    if len(location) > 1 and location[0] == "model":
        location = location[:1] + location[2:]
    return ".".join(str(part) for part in location if "[" not in str(part))
