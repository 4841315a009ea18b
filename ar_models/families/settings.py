"""Settings of the model families: one frozen dataclass per family.

Each option stands here once, with its default, bounds and description. Constructors,
saved models, the configuration file and its reference follow from these classes. Only
the standard library is imported, since the command line reads the settings before it
loads torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

Ordering = Literal["natural", "random"] | Sequence[Sequence[int]]
"""An ordering rule, or the sequence of variable groups of each ordering."""

Activation = Literal["relu", "sigmoid"]
Cell = Literal["lstm", "gru"]
Decoder = Literal["independent", "made"]
Steps = Literal["variables", "places"]


IMAGE = {"ge": 1, "from_data": True}
"""Metadata of the settings that the images determine, not the configuration file."""


def option(
    default: Any,  # of the annotated type of the field
    description: str,
    **bounds: float,
) -> Any:  # a dataclass field, which stands for its default
    """Return a dataclass field with a description and numeric bounds.

    Args:
        default: The default value.
        description: What the option does and when to change it, for its documentation.
        bounds: Any of `ge` (least value) and `lt` (least excluded value).
    """
    return field(default=default, metadata={"description": description, **bounds})


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """Settings that all families share: the size of conditionals and embeddings."""

    components: int = option(
        8,
        "components of the mixture that models a numeric variable; more for densities "
        "with many modes",
        ge=1,
    )
    embedding: int = option(
        16,
        "width of the learned embeddings of categorical variables with more than 64 "
        "codes; more for large vocabularies with many rows",
        ge=1,
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value, bounds = getattr(self, each.name), each.metadata
            if "ge" in bounds and value < bounds["ge"]:
                raise ValueError(
                    f"{each.name} must be at least {bounds['ge']}, got {value}"
                )
            if "lt" in bounds and value >= bounds["lt"]:
                raise ValueError(
                    f"{each.name} must be less than {bounds['lt']}, got {value}"
                )
            choices = get_args(each.type)
            if get_origin(each.type) is Literal and value not in choices:
                listed = " or ".join(map(repr, choices))
                raise ValueError(f"{each.name} must be {listed}, got {value!r}")

    def to_dict(self) -> dict[str, Any]:  # JSON values of several types
        """Return the settings by name, as keyword arguments of `build`."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class OrderedSettings(FamilySettings):
    """Settings of the families that average over several orderings."""

    orderings: int = option(
        1,
        "orderings of the columns, which share the weights and are averaged when "
        "scoring; more give better densities and slower scoring",
        ge=1,
    )
    ordering: Ordering = option(
        "natural",
        "order in which columns are conditioned on one another; random for several "
        "orderings, or one that begins with the columns that are given when sampling",
    )
    seed: int = option(0, "seed of random orderings and masks")


@dataclass(frozen=True, kw_only=True)
class DropoutSettings(FamilySettings):
    """Settings of the families with dropout."""

    dropout: float = option(
        0.0,
        "share of units dropped in training; above 0 if the network overfits",
        ge=0,
        lt=1,
    )


@dataclass(frozen=True, kw_only=True)
class FeedForwardSettings(OrderedSettings, DropoutSettings):
    """Settings of the families whose network is a stack of hidden layers."""

    hidden: int = option(
        512, "units per hidden layer; fewer for small data, more for large data", ge=1
    )
    layers: int = option(2, "hidden layers, or residual blocks if residual", ge=1)
    residual: bool = option(
        True,
        "use residual blocks of two layers each; false gives plain hidden layers, as "
        "in the papers, which are faster",
    )


@dataclass(frozen=True, kw_only=True)
class IndependentSettings(FamilySettings):
    """Settings of independent columns, the baseline."""


@dataclass(frozen=True, kw_only=True)
class FVSBNSettings(OrderedSettings):
    """Settings of a fully visible sigmoid belief network: one regression per column."""


@dataclass(frozen=True, kw_only=True)
class MADESettings(FeedForwardSettings):
    """Settings of a masked autoencoder: a fast feed-forward network for table rows."""

    direct: bool = option(
        False,
        "add a linear map from inputs to outputs; for few rows with many columns, "
        "together with train.l1",
    )
    masks: int = option(
        1,
        "connectivity masks of each ordering, averaged when scoring; more regularise "
        "a network for few rows",
        ge=1,
    )


@dataclass(frozen=True, kw_only=True)
class NADESettings(OrderedSettings, DropoutSettings):
    """Settings of a neural autoregressive distribution estimator with tied weights."""

    hidden: int = option(
        512, "hidden units; fewer for small data, more for large data", ge=1
    )
    activation: Activation = option(
        "relu", "activation of the hidden units; sigmoid as in the paper"
    )


@dataclass(frozen=True, kw_only=True)
class EoNADESettings(FeedForwardSettings):
    """Settings of an order-agnostic network, for imputation and any given columns."""

    orderings: int = option(
        8,
        "orderings that are averaged when scoring; training covers all orderings, so "
        "fewer score faster at a small loss",
        ge=1,
    )
    ordering: Ordering = option(
        "random", "orderings that score rows; training covers all orderings"
    )


@dataclass(frozen=True, kw_only=True)
class PixelCNNSettings(DropoutSettings):
    """Settings of gated convolutions over one image per row, given by data.images."""

    height: int = field(metadata=IMAGE | {"description": "rows of an image"})
    width: int = field(metadata=IMAGE | {"description": "columns of an image"})
    channels: int = field(
        default=1, metadata=IMAGE | {"description": "channels of a pixel"}
    )
    hidden: int = option(64, "feature maps of each stack; more for large data", ge=1)
    layers: int = option(
        8, "gated layers; more let a pixel depend on pixels farther away", ge=1
    )
    kernel: int = option(
        5,
        "width of the convolutions in pixels, odd; larger for large images",
        ge=3,
    )


@dataclass(frozen=True, kw_only=True)
class SequenceNetworkSettings(OrderedSettings, DropoutSettings):
    """Settings of the families that read a row as a sequence."""

    shared: bool = option(
        False,
        "use one input and one output map for all variables; for variables of one "
        "kind and size, such as pixels or characters",
    )
    steps: Steps = option(
        "variables",
        "what one step of the sequence is: one variable, or one place of the only "
        "column of lists, which is faster for long lists",
    )


@dataclass(frozen=True, kw_only=True)
class RNNSettings(SequenceNetworkSettings):
    """Settings of a recurrent network, for sequences of any length."""

    hidden: int = option(256, "units of the state; more for large data", ge=1)
    layers: int = option(1, "recurrent layers; more for large data", ge=1)
    cell: Cell = option("lstm", "recurrent cell; gru has fewer weights, for small data")


@dataclass(frozen=True, kw_only=True)
class TransformerSettings(SequenceNetworkSettings):
    """Settings of a causal transformer, for sequences and for many alike variables."""

    hidden: int = option(
        128,
        "width of the residual stream, a multiple of heads; more for large data",
        ge=1,
    )
    layers: int = option(4, "transformer blocks; more for large data", ge=1)
    heads: int = option(4, "attention heads; more for wide streams", ge=1)
    order_agnostic: bool = option(
        False,
        "train on a new random ordering per row, so that any columns can be given; "
        "for imputation and conditional sampling",
    )


@dataclass(frozen=True, kw_only=True)
class VAESettings(DropoutSettings):
    """Settings of a variational autoencoder, whose latent vectors embed rows."""

    latent: int = option(
        32, "length of the latent vector; more for rows with many factors", ge=1
    )
    hidden: int = option(
        512, "units per layer of encoder and decoder; more for large data", ge=1
    )
    layers: int = option(
        1, "residual blocks of encoder and decoder; more for large data", ge=1
    )
    decoder: Decoder = option(
        "independent",
        "dependence of the variables given the latent vector: independent is faster, "
        "made models it too and fits better",
    )
    samples: int = option(
        64,
        "importance samples of the bound that scores a row; more for a tighter bound",
        ge=1,
    )
    ordering: Ordering = option(
        "natural", "order of the columns in the decoder made; only for decoder: made"
    )
    seed: int = option(0, "seed of a random ordering and of the importance samples")


SETTINGS: dict[str, type[FamilySettings]] = {
    "eonade": EoNADESettings,
    "fvsbn": FVSBNSettings,
    "independent": IndependentSettings,
    "made": MADESettings,
    "nade": NADESettings,
    "pixelcnn": PixelCNNSettings,
    "rnn": RNNSettings,
    "transformer": TransformerSettings,
    "vae": VAESettings,
}
"""The settings class of each family, by the family's name in a configuration."""
