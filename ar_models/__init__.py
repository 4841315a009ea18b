"""Autoregressive density models over mixed variables: all a consumer of one needs.

Example:
    >>> import torch
    >>> from ar_models import MODELS, binary_variables
    >>> model = MODELS["made"](binary_variables(4), hidden=32)
    >>> model.log_prob(model.sample(10)).shape
    torch.Size([10])
"""

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.families.base import AutoregressiveModel
from ar_models.families.eonade import EoNADE
from ar_models.families.fvsbn import FVSBN
from ar_models.families.independent import Independent
from ar_models.families.made import MADE
from ar_models.families.nade import NADE
from ar_models.families.pixelcnn import PixelCNN
from ar_models.families.registry import MODELS
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
]
