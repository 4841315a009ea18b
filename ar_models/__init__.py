"""Autoregressive density models over mixed variables: all that a consumer needs.

Names are imported when they are first used, so that the command line can read the
settings of the families without loading torch.

Example:
    >>> from ar_models import binary_variables, build
    >>> model = build("made", binary_variables(4), hidden=32)
    >>> model.log_prob(model.sample(10)).shape
    torch.Size([10])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ar_models.distributions.conditionals import Conditionals
    from ar_models.distributions.parameter_layout import ParameterLayout
    from ar_models.families.base import AutoregressiveModel
    from ar_models.families.eonade import EoNADE
    from ar_models.families.fvsbn import FVSBN
    from ar_models.families.independent import Independent
    from ar_models.families.made import MADE
    from ar_models.families.nade import NADE
    from ar_models.families.pixelcnn import PixelCNN
    from ar_models.families.registry import MODELS, build
    from ar_models.families.rnn import RNN
    from ar_models.families.transformer import Transformer
    from ar_models.families.vae import VAE
    from ar_models.layers.features import InputFeatures
    from ar_models.variables import Variable, binary_variables

__all__ = [
    "FVSBN",
    "MADE",
    "MODELS",
    "NADE",
    "RNN",
    "VAE",
    "AutoregressiveModel",
    "Conditionals",
    "EoNADE",
    "Independent",
    "InputFeatures",
    "ParameterLayout",
    "PixelCNN",
    "Transformer",
    "Variable",
    "binary_variables",
    "build",
]

_MODULES = {
    "FVSBN": "ar_models.families.fvsbn",
    "MADE": "ar_models.families.made",
    "MODELS": "ar_models.families.registry",
    "NADE": "ar_models.families.nade",
    "RNN": "ar_models.families.rnn",
    "VAE": "ar_models.families.vae",
    "AutoregressiveModel": "ar_models.families.base",
    "Conditionals": "ar_models.distributions.conditionals",
    "EoNADE": "ar_models.families.eonade",
    "Independent": "ar_models.families.independent",
    "InputFeatures": "ar_models.layers.features",
    "ParameterLayout": "ar_models.distributions.parameter_layout",
    "PixelCNN": "ar_models.families.pixelcnn",
    "Transformer": "ar_models.families.transformer",
    "Variable": "ar_models.variables",
    "binary_variables": "ar_models.variables",
    "build": "ar_models.families.registry",
}


def __getattr__(name: str) -> Any:  # a class, a function or a mapping
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
