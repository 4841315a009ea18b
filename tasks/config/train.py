"""Configuration of training."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from tasks.config.section import AUTO, Auto, Section, Share


class TrainConfig(Section):
    """Optimisation, regularisation and early stopping.

    What is `auto` is chosen by the number of training rows when training starts.
    """

    init_from: Literal["scratch", "champion"] = "scratch"
    """Initial weights. champion continues from the champion's weights and encoder, if
    the columns are the same."""

    replay_ratio: PositiveFloat | None = None
    """With init_from: champion, maximum number of rows that the champion has already
    learned from, per new row; default: all."""

    epochs: PositiveInt | Auto = AUTO
    """Maximum number of epochs; auto plans about 800 n^(1/6) steps for n training
    rows."""

    batch_size: PositiveInt | Auto = AUTO
    """Rows per optimisation step, over all workers together; auto: about 2.4 n^(1/2),
    from 32 to 4,096."""

    learning_rate: PositiveFloat = 2e-3
    """Peak learning rate of AdamW."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning-rate schedule after the warm-up."""

    warmup_ratio: Share = 0.02
    """Share of all steps with a linearly increasing learning rate."""

    weight_decay: NonNegativeFloat = 1e-4
    """Decoupled weight decay of AdamW."""

    l1: NonNegativeFloat = 0.0
    """L1 penalty in nats per row and unit of absolute weight. It removes uninformative
    inputs: useful with many columns and few rows."""

    max_grad_norm: PositiveFloat = 1.0
    """Norm that gradients are clipped to."""

    loss_weights: Literal["adaptive", "equal"] = "adaptive"
    """Weights of the variables in the loss. adaptive lowers that of a variable while
    its NLL on the valid rows does not fall: useful where some columns overfit before
    others are learned. The VAE always weights them equally."""

    trim: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of each batch, the least likely rows, that is ignored after the first
    epoch. For train data that contains anomalies."""

    noise: NonNegativeFloat = 0.0
    """Standard deviation of the Gaussian noise added to numbers in train, in units of
    each column's spread. Smooths the density, so that nearly deterministic columns do
    not dominate it."""

    swap_noise: Share = 0.0
    """Share of values in train that are replaced by those of another row, as
    regularisation."""

    ema_decay: Share | Auto = AUTO
    """Decay of the exponential moving average of the weights, which is what is saved;
    0: no averaging; auto averages over a twelfth of the steps."""

    patience: PositiveInt | Auto = AUTO
    """Epochs without a lower NLL on the valid rows after which training stops; auto: a
    quarter of the epochs, at least 5."""

    max_seconds: PositiveFloat | None = None
    """Time limit in seconds; a run that reaches it is not reproducible. Default:
    none."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of matrix products; auto uses bf16 where the hardware has units for
    it."""

    seed: int = 0
    """Random seed of weights, batches and noise."""


class ResolvedTrainConfig(TrainConfig):
    """Configuration of training without `auto`."""

    epochs: PositiveInt
    batch_size: PositiveInt
    ema_decay: Share
    patience: PositiveInt
