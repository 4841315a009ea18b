"""Autoregressive density models over mixed variables: all a consumer of one needs.

Example:
    >>> import torch
    >>> from ar_models import MODELS, binary
    >>> model = MODELS["made"](binary(4), hidden=32)
    >>> model.log_prob(model.sample(10)).shape
    torch.Size([10])
"""

from ar_models.autoregressive import AutoregressiveModel
from ar_models.conditionals import Conditionals, Layout
from ar_models.eonade import EoNADE
from ar_models.families import MODELS
from ar_models.fvsbn import FVSBN
from ar_models.independent import Independent
from ar_models.inputs import Inputs
from ar_models.made import MADE
from ar_models.nade import NADE
from ar_models.pixelcnn import PixelCNN
from ar_models.rnn import RNN
from ar_models.transformer import Transformer
from ar_models.vae import VAE
from ar_models.variables import Variable, binary

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
    "Inputs",
    "Layout",
    "PixelCNN",
    "Transformer",
    "Variable",
    "binary",
]
