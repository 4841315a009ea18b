"""Configuration of training."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from tasks.config.section import Section, Share


class TrainConfig(Section):
    """For how long and how to train."""

    init_from: Literal["scratch", "champion"] = Field(
        "scratch",
        description="go on from the champion's weights, with its encoder, where the "
        "columns are the same",
    )
    replay_ratio: PositiveFloat | None = Field(
        None,
        description="with init_from: champion, rows of files that it learned from for "
        "each new row, at most; all if none",
    )
    epochs: PositiveInt = 30
    batch_size: PositiveInt = Field(
        1024, description="rows per step, over all workers together"
    )
    learning_rate: PositiveFloat = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_ratio: Share = Field(
        0.02, description="share of the steps with a rising rate"
    )
    weight_decay: NonNegativeFloat = 1e-4
    l1: NonNegativeFloat = Field(
        0.0,
        description="nats per row that a unit of absolute weight costs, so that inputs "
        "which tell nothing have none: where columns are many and rows few",
    )
    max_grad_norm: PositiveFloat = Field(
        1.0, description="greatest norm of the gradient"
    )
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
    swap_noise: Share = Field(
        0.0, description="share of values in train that another row's replace"
    )
    background: Share = Field(
        0.0,
        description="share of values that another row's replace in the rows that a "
        "second network learns from, which score.statistic: ratio compares with; 0: "
        "none, it compares with independent columns",
    )
    ema_decay: Share = Field(
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
