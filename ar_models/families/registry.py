"""The model families by name, and models built from a name and settings."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ar_models.families.base import AutoregressiveModel
from ar_models.families.ensemble import Ensemble
from ar_models.families.eonade import EoNADE
from ar_models.families.fvsbn import FVSBN
from ar_models.families.independent import Independent
from ar_models.families.made import MADE
from ar_models.families.nade import NADE
from ar_models.families.pixelcnn import PixelCNN
from ar_models.families.rnn import RNN
from ar_models.families.transformer import Transformer
from ar_models.families.vae import VAE
from ar_models.variables import Variable

MODELS: dict[str, type[AutoregressiveModel]] = {
    "eonade": EoNADE,
    "fvsbn": FVSBN,
    "independent": Independent,
    "made": MADE,
    "nade": NADE,
    "pixelcnn": PixelCNN,
    "rnn": RNN,
    "transformer": Transformer,
    "vae": VAE,
}
"""The class of each family, by the family's name in a configuration."""


def build(
    family: str,
    variables: Sequence[Variable],
    *,
    ensemble: int = 1,
    **settings: Any,  # of the types that the family's settings have
) -> AutoregressiveModel:
    """Return an untrained model, initialised from torch's global random numbers.

    Args:
        family: A name of `MODELS`.
        variables: Descriptions of the columns of `x`.
        ensemble: Number of models whose densities are averaged. Each has a seed of its
            own: that of the settings, plus 0, 1, ….
        settings: Settings of the family, as `AutoregressiveModel.config` returns them.

    Raises:
        TypeError: The family has no such setting.
        ValueError: A setting is out of bounds, or does not fit the variables.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = build("nade", binary_variables(4), hidden=32)
        >>> model.sample(5).shape
        torch.Size([5, 4])
    """
    model_class = MODELS[family]
    if ensemble == 1:
        return model_class(variables, model_class.Settings(**settings))
    seeded = any(each.name == "seed" for each in fields(model_class.Settings))
    members = []
    for k in range(ensemble):
        seed = {"seed": settings.get("seed", 0) + k} if seeded else {}
        members.append(build(family, variables, **(settings | seed)))
    return Ensemble(members)


def family_name(model: AutoregressiveModel) -> str:
    """Return the name in `MODELS` of a model's family, or of an ensemble's members."""
    if isinstance(model, Ensemble):
        model, _ = model.member(0)
    return next(name for name, each in MODELS.items() if type(model) is each)
