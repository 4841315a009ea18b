"""Which families there are."""

from ar_models.autoregressive import AutoregressiveModel
from ar_models.eonade import EoNADE
from ar_models.fvsbn import FVSBN
from ar_models.independent import Independent
from ar_models.made import MADE
from ar_models.nade import NADE
from ar_models.pixelcnn import PixelCNN
from ar_models.rnn import RNN
from ar_models.transformer import Transformer
from ar_models.vae import VAE

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
