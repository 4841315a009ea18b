"""Configuration of the model families."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag

from tasks.config.section import Section, Share

OrderingName = (
    Literal["natural", "random", "dependence", "raster", "column", "spiral"]
    | tuple[str, ...]
)
"""How columns are taken: as they come, shuffled, along the dependences in the train
rows, or starting with those that are named. The pixels of images: row by row, column by
column, or from the rim to the middle."""


class MadeConfig(Section):
    """A masked network; every key is an argument of `ar_models.families.made.MADE`."""

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
    """A regression per variable: the arguments of `ar_models.families.fvsbn.FVSBN`."""

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
    """Tied weights; every key is an argument of `ar_models.families.nade.NADE`."""

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
    """Any order; every key is an argument of `ar_models.families.eonade.EoNADE`."""

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
    """Gated convolutions; keys are arguments of `ar_models.families.pixelcnn.PixelCNN`.

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
    """A recurrent network; every key is an argument of `ar_models.families.rnn.RNN`."""

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
    """A latent vector; every key is an argument of `ar_models.families.vae.VAE`."""

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
