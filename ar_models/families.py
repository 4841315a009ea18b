"""Which families there are, and models of them from their configuration."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ar_models.autoregressive import AutoregressiveModel
from ar_models.ensemble import Ensemble
from ar_models.eonade import EoNADE
from ar_models.fvsbn import FVSBN
from ar_models.independent import Independent
from ar_models.made import MADE
from ar_models.nade import NADE
from ar_models.pixelcnn import PixelCNN
from ar_models.rnn import RNN
from ar_models.transformer import Transformer
from ar_models.vae import VAE
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
"""Every family by its name in a configuration."""


def build(
    family: str,
    variables: Sequence[Variable],
    config: Mapping[str, Any],  # JSON-able values
) -> AutoregressiveModel:
    """A model with fresh weights, from torch's global random numbers.

    Args:
        family: A name of `MODELS`.
        variables: What each column of `x` is.
        config: Arguments of the family, as `AutoregressiveModel.config` gives them.
            `ensemble` among them is the number of models of which the mean is taken;
            they have the seeds from `seed` on.
    """
    arguments = dict(config)
    members = arguments.pop("ensemble", 1)
    if members == 1:
        return MODELS[family](variables, **arguments)
    seeded = "seed" in inspect.signature(MODELS[family]).parameters
    each = []
    for k in range(members):
        own = {"seed": config.get("seed", 0) + k} if seeded else {}
        each.append(MODELS[family](variables, **(arguments | own)))
    return Ensemble(each)


def family(model: AutoregressiveModel) -> str:
    """The name by which `MODELS` knows the model's class, or that of its members."""
    if isinstance(model, Ensemble):
        model, _ = model.member(0)
    return next(name for name, of in MODELS.items() if type(model) is of)
