"""Variational autoencoder: a neighbour that bounds the density of a row."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.autoregressive import AutoregressiveModel, Ordering, settle
from ar_models.conditionals import (
    EXACT,
    TINY,
    Conditionals,
    Layout,
    Tempering,
)
from ar_models.dropout import Dropout
from ar_models.inputs import Inputs
from ar_models.made import MADE
from ar_models.variables import Variable

Decoder = Literal["independent", "made"]

SPREAD = 4.0
"""Log-scales of the approximate posterior stay between minus this and this."""

QUICK = 8
"""Importance samples of `quick_log_prob`."""


class Network(nn.Module):
    """A feed-forward network with residual blocks.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
        hidden: Units of each layer.
        layers: Residual blocks.
        dropout: Share of units left out in each block in train mode.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2 * layers))
        self.last = nn.Linear(hidden, outputs)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for one, other in zip(self.inner[::2], self.inner[1::2], strict=True):
            h = h + other(self.dropout(F.relu(one(F.relu(h)))))
        out: Tensor = self.last(F.relu(h))
        return out.to(self.last.weight.dtype)  # from bf16 under autocast


class VAE(AutoregressiveModel):
    r"""A latent vector from a standard normal distribution, and a row given it.

    .. math:: p(x) = \int \mathcal{N}(z; 0, 1) \, p(x \mid z) \, dz
        \geq \exp E_q \log \frac1K \sum_k \frac{p(z_k) \, p(x \mid z_k)}{q(z_k \mid x)}

    The integral is known only by this bound: in train mode with K = 1, one draw from
    the approximate posterior q and its exact divergence from the prior; in eval mode
    with `samples` quasi-random points, always the same ones, so that the value is a
    function of the row alone. The bound holds in the mean over such sets of points.

    There is no chain rule to take apart, so `conditionals` are what the decoder expects
    given the latent vector that the whole row suggests: of use to explain a row, but
    their log-probabilities do not add up to `log_prob`.

    Reference:
        Kingma, Welling, Auto-encoding variational Bayes, 2014.
        https://arxiv.org/abs/1312.6114
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, 2016.
        https://arxiv.org/abs/1509.00519 (the bound with K samples).
        Gulrajani et al., PixelVAE, 2017. https://arxiv.org/abs/1611.05013
        (an autoregressive decoder; there a PixelCNN).

    Args:
        variables: What each column of `x` is.
        latent: Length of the latent vector.
        hidden: Units per layer of encoder and decoder.
        layers: Residual blocks of each.
        decoder: "independent": variables are independent given the latent vector.
            "made": each depends on those before it, too.
        samples: Importance samples of the bound in eval mode.
        ordering: Of a decoder "made": "natural", "random", or one sequence of groups.
        components: Components of each mixture.
        embedding: Width in which vocabularies of more than 64 codes are embedded.
        dropout: Share of hidden units left out in train mode.
        seed: Of a random ordering and of the points of the bound.

    Example:
        >>> from ar_models.variables import binary
        >>> model = VAE(binary(3), latent=2, hidden=16)
        >>> model.eval().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    is_bound = True
    points: Tensor  # (samples, latent), standard normal

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        latent: int = 32,
        hidden: int = 512,
        layers: int = 1,
        decoder: Decoder = "independent",
        samples: int = 64,
        ordering: Ordering = "natural",
        components: int = 8,
        embedding: int = 16,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(variables, ordering=ordering, seed=seed)
        if min(latent, hidden, layers, samples) < 1:
            raise ValueError(
                "latent, hidden, layers and samples must be at least 1, got "
                f"{latent}, {hidden}, {layers} and {samples}"
            )
        if decoder not in ("independent", "made"):
            raise ValueError(
                f"decoder must be 'independent' or 'made', got {decoder!r}"
            )
        if decoder == "independent" and ordering != "natural":
            raise ValueError(
                "an independent decoder takes no ordering, got ordering "
                f"{ordering!r}; leave it natural or choose decoder 'made'"
            )
        self.settings: dict[str, Any] = {
            "latent": latent,
            "hidden": hidden,
            "layers": layers,
            "decoder": decoder,
            "samples": samples,
            "ordering": ordering
            if isinstance(ordering, str)
            else [list(groups) for groups in ordering],
            "components": components,
            "embedding": embedding,
            "dropout": dropout,
            "seed": seed,
        }
        self.latent = latent
        self.noise_dim = latent + self.dim
        self.inputs = Inputs.of(variables, embedding)
        self.encoder = Network(self.inputs.size, 2 * latent, hidden, layers, dropout)
        nn.init.normal_(self.encoder.last.weight, std=1e-2)
        self.decoder: IndependentDecoder | MadeDecoder
        if decoder == "independent":
            layout = Layout.of(variables, components, embedding)
            network = Network(latent, layout.size, hidden, layers, dropout)
            self.decoder = IndependentDecoder(layout, network)
        else:
            table = self.ordering().tolist()
            self.decoder = MadeDecoder(
                variables,
                latent,
                [variables[i].group for i in table],
                hidden=hidden,
                layers=layers,
                components=components,
                embedding=embedding,
                dropout=dropout,
            )
        sobol = torch.quasirandom.SobolEngine(latent, scramble=True, seed=seed)
        uniform = sobol.draw(samples).clamp(TINY, 1 - TINY)
        self.register_buffer("points", torch.special.ndtri(uniform), persistent=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of the approximate posterior, each (batch, latent)."""
        dtype = self.encoder.last.weight.dtype
        mean, raw = self.encoder(self.inputs(x.to(dtype))).chunk(2, -1)
        return mean, SPREAD * torch.tanh(raw / SPREAD)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        """What the decoder expects, given the mean latent vector of the whole row."""
        mean, _ = self.encode(x)
        return self.decoder.conditionals(mean, x)

    def log_prob(self, x: Tensor) -> Tensor:
        if self.training:
            shares, divergence = self._draw_once(x)
            return shares.sum(-1) - divergence
        return self._bound(x, self.points)

    def quick_log_prob(self, x: Tensor) -> Tensor:
        return self._bound(x, self.points[:QUICK])

    def variable_log_prob(self, x: Tensor) -> Tensor:
        """Each variable's share of the bound: its log-probability given the latents.

        In the mean over these; what it cost to tell them is divided in proportion to
        the shares' sizes.
        """
        if self.training:
            shares, divergence = self._draw_once(x)
            return _divide(shares, -divergence)
        # A running mean, so that (samples, batch, dim) is never held.
        top = x.new_full((len(x),), -math.inf, dtype=self.points.dtype)
        total, shares = torch.zeros_like(top), top.new_zeros(x.shape)
        for log_weight, each in self._weighed(x, self.points):
            higher = torch.maximum(top, log_weight)
            before, now = (top - higher).exp(), (log_weight - higher).exp()
            top, total = higher, total * before + now
            shares = shares * before.unsqueeze(-1) + each * now.unsqueeze(-1)
        shares = shares / total.unsqueeze(-1)
        bound = top + (total / len(self.points)).log()
        return _divide(shares, bound - shares.sum(-1))

    def _draw_once(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities given one draw of the latents, (batch, dim), and KL(q|p).

        The draw is from the global generator.
        """
        mean, log_scale = self.encode(x)
        scale = log_scale.exp()
        z = mean + scale * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + scale.square() - 1) - log_scale
        return self.decoder.log_prob(z, x), divergence.sum(-1)

    def _bound(self, x: Tensor, points: Tensor) -> Tensor:
        weights = torch.stack([weight for weight, _ in self._weighed(x, points)])
        bound = weights.logsumexp(0) - math.log(len(points))
        # Of nothing, all that there is to tell is known.
        return bound.masked_fill(x.isnan().all(-1), 0.0)

    def _weighed(self, x: Tensor, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each point the log of its weight, (batch,), and the shares in it."""
        # Once for all points, and weights depend on it strongly: so not in bf16.
        with torch.autocast(x.device.type, enabled=False):
            mean, log_scale = self.encode(x)
        scale = log_scale.exp()
        for point in points:
            z = mean + scale * point
            shares = self.decoder.log_prob(z, x)
            ratio = 0.5 * (point.square() - z.square()) + log_scale
            yield shares.sum(-1) + ratio.sum(-1), shares

    def features(self, x: Tensor) -> Tensor:
        """The mean latent vector: (batch, latent)."""
        return self.encode(x)[0]

    def config(self) -> dict[str, Any]:
        return dict(self.settings)

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """See `AutoregressiveModel`; noise is (batch, latent + dim, 2).

        The latent vector is drawn as it is; tempered is what is drawn given it.

        Raises:
            ValueError: Something is given.
        """
        if given is not None and not bool(given.isnan().all()):
            raise ValueError(
                "a vae cannot sample rows of which a part is given; choose an "
                "order-agnostic family or an ordering that starts with it"
            )
        uniform = noise[:, : self.latent, 0].clamp(TINY, 1 - TINY)
        z: Tensor = torch.special.ndtri(uniform)
        uniform = noise[:, self.latent :]
        return self.decoder.draw(z, uniform, self.variables, tempering)


def _divide(shares: Tensor, rest: Tensor) -> Tensor:
    """Adds `rest` (batch,) to shares (batch, dim), in proportion to their sizes."""
    size = shares.abs()
    part = size / size.sum(-1, keepdim=True).clamp(min=1e-30)
    return shares + rest.unsqueeze(-1) * part


class IndependentDecoder(nn.Module):
    """Variables that are independent given the latent vector.

    Args:
        layout: Of the parameters.
        network: From the latent vector to them.
    """

    def __init__(self, layout: Layout, network: Network) -> None:
        super().__init__()
        self.layout = layout
        self.network = network
        nn.init.normal_(network.last.weight, std=1e-2)
        with torch.no_grad():
            network.last.bias.copy_(layout.initial_bias())

    def conditionals(self, z: Tensor, x: Tensor) -> Conditionals:
        """Of all variables, given z (batch, latent)."""
        return Conditionals(self.layout, self.network(z))

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """Of each variable, (batch, dim)."""
        return self.conditionals(z, x).log_prob(x)

    def draw(
        self,
        z: Tensor,
        noise: Tensor,
        variables: Sequence[Variable],
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """Rows (batch, dim) from uniform numbers (batch, dim, 2)."""
        free = Conditionals(self.layout, self.network(z)).sample(noise, tempering)
        x = torch.full_like(free, torch.nan)
        for i, variable in enumerate(variables):
            x[:, i] = settle(variable, free[:, i], None, x)
        return x


class MadeDecoder(nn.Module):
    """Variables that depend on the latent vector and on those before them.

    A MADE over the latent vector and the row, of which the latent part is always given.

    Args:
        variables: Of the row.
        latent: Length of the latent vector.
        groups: The groups of the row's variables in the order in which they are taken.
        settings: Further arguments of the MADE.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        latent: int,
        groups: Sequence[int],
        **settings: Any,  # of several types
    ) -> None:
        super().__init__()
        self.latent = latent
        first = min(groups) - 1
        name = "z"
        while any(variable.name.startswith(name) for variable in variables):
            name += "z"
        latents = [Variable(f"{name}{i}", "real", first) for i in range(latent)]
        shifted = [
            v if v.parent is None else replace(v, parent=v.parent + latent)
            for v in variables
        ]
        sequence = [first, *dict.fromkeys(groups)]
        self.made = MADE([*latents, *shifted], ordering=[sequence], **settings)

    def conditionals(self, z: Tensor, x: Tensor) -> Conditionals:
        """Of all variables, each given z (batch, latent) and those before it."""
        own = range(self.latent, self.latent + x.shape[1])
        together = self.made.conditionals(torch.cat([z, x.to(z.dtype)], -1))
        layout = together.layout.select(own)
        return Conditionals(layout, together.parameters[:, layout.places])

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """Of each variable, (batch, dim)."""
        together = torch.cat([z, x.to(z.dtype)], -1)
        log_prob = self.made.conditionals(together).log_prob(together)
        return log_prob[:, self.latent :]

    def draw(
        self,
        z: Tensor,
        noise: Tensor,
        variables: Sequence[Variable],
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """Rows (batch, dim) from uniform numbers (batch, dim, 2)."""
        unused = noise[:, :1].expand(-1, self.latent, -1)
        known = [*z.unbind(-1), *[None] * len(variables)]
        drawn = self.made.draw_beside(
            torch.cat([unused, noise], 1), known, tempering=tempering
        )
        return drawn[:, self.latent :]
