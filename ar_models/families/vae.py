"""Variational autoencoder, which bounds the density of a row from below."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.mixtures import UNIFORM_MARGIN
from ar_models.distributions.parameter_layout import ParameterLayout
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.families.base import AutoregressiveModel
from ar_models.families.made import MADE
from ar_models.families.orderings import divide_rest, make_orderings
from ar_models.families.settings import VAESettings
from ar_models.layers.features import InputFeatures
from ar_models.layers.hidden_layers import HiddenLayers
from ar_models.variables import Variable, apply_given

MAX_LOG_SCALE = 4.0
"""Bound on the absolute log-scale of the approximate posterior."""

ESTIMATE_SAMPLES = 8
"""Importance samples of `estimate_variable_log_prob`."""


class Network(nn.Module):
    """A feed-forward network with residual blocks.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
        settings: Settings of the autoencoder.
    """

    def __init__(self, inputs: int, outputs: int, settings: VAESettings) -> None:
        super().__init__()
        hidden = settings.hidden
        self.first = nn.Linear(inputs, hidden)
        self.inner = HiddenLayers(hidden, settings.layers, dropout=settings.dropout)
        self.last = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(F.relu(self.inner(self.first(x))[-1]))
        return out.to(self.last.weight.dtype)  # from bf16 under autocast


class VAE(AutoregressiveModel):
    r"""A latent-variable model: a standard normal vector, and a row given it.

    .. math:: p(x) = \int \mathcal{N}(z; 0, 1) \, p(x \mid z) \, dz
        \geq \exp E_q \log \frac1K \sum_k \frac{p(z_k) \, p(x \mid z_k)}{q(z_k \mid x)}

    `log_prob` is this bound. In train mode it uses one sample of the approximate
    posterior q and its exact divergence from the prior; in eval mode K = `samples`
    quasi-random points, always the same ones, so that it is a function of the row
    alone. The bound holds in the mean over such sets of points.

    `conditionals` are those of the decoder given the posterior mean of the whole row.
    They help to explain a row, but their log-probabilities do not add up to `log_prob`.

    Reference:
        Kingma, Welling, Auto-encoding variational Bayes, 2014.
        https://arxiv.org/abs/1312.6114
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, 2016.
        https://arxiv.org/abs/1509.00519 (the bound with K samples).
        Gulrajani et al., PixelVAE, 2017. https://arxiv.org/abs/1611.05013
        (an autoregressive decoder; there a PixelCNN).

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of encoder, decoder and bound.

    Example:
        >>> from ar_models.variables import binary_variables
        >>> model = VAE(binary_variables(3), VAE.Settings(latent=2, hidden=16))
        >>> model.eval().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    Settings = VAESettings

    is_bound = True

    settings: VAESettings
    points: Tensor  # (samples, latent), standard normal

    def __init__(self, variables: Sequence[Variable], settings: VAESettings) -> None:
        if settings.decoder == "independent" and settings.ordering != "natural":
            raise ValueError(
                "an independent decoder takes no ordering, got ordering "
                f"{settings.ordering!r}; leave it natural or choose decoder 'made'"
            )
        orderings = make_orderings(variables, settings.ordering, seed=settings.seed)
        super().__init__(variables, settings, orderings)
        self.latent = latent = settings.latent
        self.noise_dim = latent + self.dim
        self.inputs = InputFeatures.of(variables, settings.embedding)
        self.encoder = Network(self.inputs.size, 2 * latent, settings)
        nn.init.normal_(self.encoder.last.weight, std=1e-2)
        self.decoder: IndependentDecoder | MadeDecoder
        if settings.decoder == "independent":
            self.decoder = IndependentDecoder(variables, settings)
        else:
            groups = [variables[i].group for i in self.ordering_list()]
            self.decoder = MadeDecoder(variables, groups, settings)
        sobol = torch.quasirandom.SobolEngine(latent, scramble=True, seed=settings.seed)
        uniform = sobol.draw(settings.samples).clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN)
        self.register_buffer("points", torch.special.ndtri(uniform), persistent=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return posterior mean and log-scale of the latents, (batch, latent) each."""
        dtype = self.encoder.last.weight.dtype
        mean, raw = self.encoder(self.inputs(x.to(dtype))).chunk(2, -1)
        return mean, MAX_LOG_SCALE * torch.tanh(raw / MAX_LOG_SCALE)

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        """Return the decoder's conditionals given the posterior mean of the row."""
        mean, _ = self.encode(x)
        return self.decoder.conditionals(mean, x)

    def log_prob(self, x: Tensor) -> Tensor:
        if self.training:
            shares, divergence = self._sample_posterior(x)
            return shares.sum(-1) - divergence
        return self._bound(x, self.points)

    def variable_log_prob(self, x: Tensor) -> Tensor:
        """Return each variable's share of the bound, in nats: (batch, dim).

        A share is the mean log-probability given the latent vectors, weighted by their
        importance; the divergence is divided in proportion to the shares' sizes.
        """
        if self.training:
            shares, divergence = self._sample_posterior(x)
            return divide_rest(shares, -divergence)
        return self._shares_of_bound(x, self.points)

    def estimate_variable_log_prob(self, x: Tensor) -> Tensor:
        return self._shares_of_bound(x, self.points[:ESTIMATE_SAMPLES])

    def _shares_of_bound(self, x: Tensor, points: Tensor) -> Tensor:
        # A running mean, so that (samples, batch, dim) is never held.
        top = x.new_full((len(x),), -math.inf, dtype=points.dtype)
        total, shares = torch.zeros_like(top), top.new_zeros(x.shape)
        for log_weight, each in self._importance_weights(x, points):
            higher = torch.maximum(top, log_weight)
            before, now = (top - higher).exp(), (log_weight - higher).exp()
            top, total = higher, total * before + now
            shares = shares * before.unsqueeze(-1) + each * now.unsqueeze(-1)
        shares = shares / total.unsqueeze(-1)
        bound = top + (total / len(points)).log()
        return divide_rest(shares, bound - shares.sum(-1))

    def _sample_posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sample one latent vector per row from torch's global generator.

        Returns:
            Log-probabilities given the latent vector (batch, dim), and the divergence
            of the posterior from the prior (batch,), in nats.
        """
        mean, log_scale = self.encode(x)
        scale = log_scale.exp()
        z = mean + scale * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + scale.square() - 1) - log_scale
        return self.decoder.log_prob(z, x), divergence.sum(-1)

    def _bound(self, x: Tensor, points: Tensor) -> Tensor:
        weights = torch.stack(
            [weight for weight, _ in self._importance_weights(x, points)]
        )
        bound = weights.logsumexp(0) - math.log(len(points))
        # A row without any present value has probability 1.
        return bound.masked_fill(x.isnan().all(-1), 0.0)

    def _importance_weights(
        self, x: Tensor, points: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield log-weight (batch,) and log-probabilities (batch, dim) per point."""
        # In full precision, as the weights of all points depend on it strongly.
        with torch.autocast(x.device.type, enabled=False):
            mean, log_scale = self.encode(x)
        scale = log_scale.exp()
        for point in points:
            z = mean + scale * point
            shares = self.decoder.log_prob(z, x)
            ratio = 0.5 * (point.square() - z.square()) + log_scale
            yield shares.sum(-1) + ratio.sum(-1), shares

    def features(self, x: Tensor) -> Tensor:
        """Return the posterior mean of the latent vector: (batch, latent)."""
        return self.encode(x)[0]

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise (batch, latent + dim, 2) to samples.

        The latent vector is sampled exactly; `sampling` affects the rows given it.

        Raises:
            ValueError: Values are given.
        """
        if given is not None and not bool(given.isnan().all()):
            raise ValueError(
                "a vae cannot sample rows with given values; choose an "
                "order-agnostic family or an ordering that starts with it"
            )
        uniform = noise[:, : self.latent, 0].clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN)
        z: Tensor = torch.special.ndtri(uniform)
        uniform = noise[:, self.latent :]
        return self.decoder.draw(z, uniform, self.variables, sampling)


class IndependentDecoder(nn.Module):
    """Variables that are independent given the latent vector.

    Args:
        variables: Descriptions of the variables of a row.
        settings: Settings of the autoencoder.
    """

    def __init__(self, variables: Sequence[Variable], settings: VAESettings) -> None:
        super().__init__()
        self.layout = ParameterLayout.of(
            variables, settings.components, settings.embedding
        )
        self.network = Network(settings.latent, self.layout.size, settings)
        nn.init.normal_(self.network.last.weight, std=1e-2)
        with torch.no_grad():
            self.network.last.bias.copy_(self.layout.initial_bias())

    def conditionals(self, z: Tensor, x: Tensor) -> Conditionals:
        """Return the conditionals of all variables given z (batch, latent)."""
        return Conditionals(self.layout, self.network(z))

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the log-probability of each variable, in nats: (batch, dim)."""
        return self.conditionals(z, x).log_prob(x)

    def draw(
        self,
        z: Tensor,
        noise: Tensor,
        variables: Sequence[Variable],
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise (batch, dim, 2) to rows (batch, dim)."""
        free = Conditionals(self.layout, self.network(z)).sample(noise, sampling)
        x = torch.full_like(free, torch.nan)
        for i, variable in enumerate(variables):
            x[:, i] = apply_given(variable, free[:, i], None, x)
        return x


class MadeDecoder(nn.Module):
    """Variables that depend on the latent vector and on those before them.

    It is a MADE over the latent vector and the row; the latent part is always given.

    Args:
        variables: Descriptions of the variables of a row.
        groups: Groups of the variables in the order in which they are taken.
        settings: Settings of the autoencoder.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        groups: Sequence[int],
        settings: VAESettings,
    ) -> None:
        super().__init__()
        self.latent = latent = settings.latent
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
        network = MADE.Settings(
            hidden=settings.hidden,
            layers=settings.layers,
            ordering=[sequence],
            components=settings.components,
            embedding=settings.embedding,
            dropout=settings.dropout,
        )
        self.made = MADE([*latents, *shifted], network)

    def conditionals(self, z: Tensor, x: Tensor) -> Conditionals:
        """Return the conditionals given z (batch, latent) and the variables before."""
        own = range(self.latent, self.latent + x.shape[1])
        conditionals = self.made.conditionals(torch.cat([z, x.to(z.dtype)], -1))
        layout = conditionals.layout.select(own)
        return Conditionals(layout, conditionals.parameters[:, layout.source_index])

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the log-probability of each variable, in nats: (batch, dim)."""
        whole = torch.cat([z, x.to(z.dtype)], -1)
        log_prob = self.made.conditionals(whole).log_prob(whole)
        return log_prob[:, self.latent :]

    def draw(
        self,
        z: Tensor,
        noise: Tensor,
        variables: Sequence[Variable],
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise (batch, dim, 2) to rows (batch, dim)."""
        unused = noise[:, :1].expand(-1, self.latent, -1)
        known = [*z.unbind(-1), *[None] * len(variables)]
        drawn = self.made.sample_given(
            torch.cat([unused, noise], 1), known, sampling=sampling
        )
        return drawn[:, self.latent :]
