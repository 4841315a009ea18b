"""The conditional distributions of all variables at once, and their parameters."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ar_models import entropy, mixture_loops, softmax, vocabulary
from ar_models.compiled import by_loop, loops_pay
from ar_models.grouping import Group, Grouping
from ar_models.inputs import LARGE
from ar_models.softmax import by_likelihood, logarithm
from ar_models.variables import MAX_INTEGER, Variable

REAL_FLOOR = math.log(5e-3)
"""Least log-scale of a Gaussian component, in scaled units."""

INTEGER_FLOOR = 1e-3
"""Least width of a logistic component, in scaled units, …"""

UNIT_FLOOR = 0.03
"""… and in integers: its mass on the nearest integer is then 1 - 1e-7."""

CEILING = math.log(1e4)
"""Greatest log-scale of a component, in scaled units."""

RARE = 1e-6
"""Least share from which a bias starts."""

FAR = 1e6
"""Reals are taken to be at most so far from 0, in scaled units, so that no square
overflows; a Gaussian has no mass there."""

TINY = 2.0**-25
"""Uniform numbers keep this distance from 0 and 1."""

MOST_LOGITS = 2**23
"""So many logits are held at once when codes are drawn."""

KEPT_LOGITS = 2**22
"""So many logits of a large vocabulary are kept on processors."""


@dataclass(frozen=True)
class Tempering:
    """How samples keep to what is likely, conditional by conditional.

    Codes are drawn with their probabilities to the power 1 / `temperature`, and only
    from the nucleus: the likeliest codes, as few as reach the share `top_p` together.
    The atoms and components of a mixture of numbers are drawn like codes by their
    weights. A Gaussian component is then taken to the power 1 / `temperature`, too,
    which multiplies its variance by the temperature; of a logistic one the tails are,
    which multiplies its scale. Values come from the central share `top_p` of their
    component. With 1 and 1, samples are exact.

    Reference:
        Holtzman et al., The curious case of neural text degeneration, 2020.
        https://arxiv.org/abs/1904.09751 (nuclei of codes).

    Attributes:
        temperature: Above 0; below 1 likely values become likelier.
        top_p: Above 0, at most 1.
    """

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be above 0 and finite, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def shares(self, logits: Tensor) -> Tensor:
        """Of codes with these logits (…, n), in any unit: 0 outside the nucleus."""
        if self.temperature != 1:
            logits = logits / self.temperature
        shares = logits.softmax(-1)
        if self.top_p == 1:
            return shares
        ranked, order = shares.sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked
        kept = ranked.masked_fill(before >= self.top_p, 0)
        return torch.zeros_like(shares).scatter(-1, order, kept)

    def central(self, uniform: Tensor) -> Tensor:
        """Uniform numbers, moved into the central share `top_p` of 0 to 1."""
        if self.top_p == 1:
            return uniform
        return 0.5 + (uniform - 0.5) * self.top_p


EXACT = Tempering()
"""Samples of the model as it is."""


class Conditional(Group):
    """Distributions of `count` variables of one kind.

    Parameters are (batch, count, width), values and results (batch, count). Values are
    never NaN: an absent variable's is replaced by `fill`.
    """

    start: Tensor  # (count, width), the initial bias
    fill: Tensor  # (count,)

    def ready(self, parameters: Tensor) -> tuple["Conditional", Tensor]:
        """What gives the same, and quicker where several things are asked."""
        return self, parameters

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Log-probabilities or log-densities, in nats."""
        raise NotImplementedError

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropies, in nats; differential ones for reals."""
        raise NotImplementedError

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        """The probabilities of at most `x`."""
        raise NotImplementedError

    def log_tails(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        """Log-probabilities of less, of as much and of more than `x`, in nats.

        Of codes, which have no order, those that are less likely, as likely and
        likelier than the one at hand.

        Args:
            parameters: As ever.
            x: Values.
            log_prob: What `log_prob` gave for them, if it is known.

        Returns:
            (batch, count, 3), exact far into the tails, where a cdf is 0 or 1.
        """
        raise NotImplementedError

    def sample(
        self, parameters: Tensor, noise: Tensor, tempering: Tempering = EXACT
    ) -> Tensor:
        """Values from uniform numbers (batch, count, 2)."""
        raise NotImplementedError

    def quantile(self, parameters: Tensor, q: Tensor) -> Tensor:
        """The least value whose cdf reaches `q`; NaN for codes, which have no order."""
        return torch.full_like(q, torch.nan)


class Binary(Conditional):
    """Bernoulli variables; the parameter is the logit of 1."""

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logit = parameters.squeeze(-1)
        return F.logsigmoid(torch.where(x > 0.5, logit, -logit))

    def entropy(self, parameters: Tensor) -> Tensor:
        logit = parameters.squeeze(-1)
        return F.softplus(logit) - logit * logit.sigmoid()

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        below = torch.where(x >= 0, (-parameters.squeeze(-1)).sigmoid(), 0.0)
        return torch.where(x >= 1, 1.0, below)

    def log_tails(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        logit = parameters.squeeze(-1)
        own = torch.where(x > 0.5, logit, -logit)
        logits = torch.stack([own, -own], -1)
        return by_likelihood(logits / 2, logits[..., :1] / 2)

    def sample(
        self, parameters: Tensor, noise: Tensor, tempering: Tempering = EXACT
    ) -> Tensor:
        logit = parameters.squeeze(-1)
        if tempering.temperature != 1:
            logit = logit / tempering.temperature
        share = logit.sigmoid()
        if tempering.top_p < 1:
            alone = torch.maximum(share, 1 - share) >= tempering.top_p
            share = torch.where(alone, (logit > 0).to(share.dtype), share)
        one = noise[..., 0] < share
        return one.to(parameters.dtype)

    def probabilities(self, parameters: Tensor) -> Tensor:
        one = parameters.sigmoid()
        return torch.cat([1 - one, one], -1)

    def log_probabilities(self, parameters: Tensor) -> Tensor:
        return F.logsigmoid(torch.cat([-parameters, parameters], -1))


class Categorical(Conditional):
    """Softmax variables; the parameters are the logits of their codes."""

    @property
    def codes(self) -> int:
        """Number of codes."""
        return self.width

    def logits(self, parameters: Tensor) -> Tensor:
        """Unnormalised log-probabilities, (batch, count, codes)."""
        return parameters

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        logits = self.logits(parameters)
        chosen = logits.gather(-1, x.long().unsqueeze(-1)).squeeze(-1)
        return chosen - logits.logsumexp(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        return softmax.entropy(self.logits(parameters))

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        probabilities = self.probabilities(parameters)
        codes = torch.arange(probabilities.shape[-1], device=x.device)
        return (probabilities * (codes <= x.unsqueeze(-1))).sum(-1)

    def log_tails(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        logits = self.logits(parameters)
        return by_likelihood(logits, logits.gather(-1, x.long().unsqueeze(-1)))

    def sample(
        self, parameters: Tensor, noise: Tensor, tempering: Tempering = EXACT
    ) -> Tensor:
        codes = self.fill.new_empty(noise.shape[:-1], dtype=parameters.dtype)
        rows = max(1, MOST_LOGITS // (len(self.fill) * self.codes))
        for start in range(0, len(codes), rows):
            part = slice(start, start + rows)
            shares = tempering.shares(self.logits(parameters[part]))
            codes[part] = pick(shares, noise[part, :, 0])
        return codes

    def probabilities(self, parameters: Tensor) -> Tensor:
        return self.logits(parameters).softmax(-1)

    def log_probabilities(self, parameters: Tensor) -> Tensor:
        return self.logits(parameters).log_softmax(-1)


class Vocabulary(Categorical):
    """Softmax variables with many codes, factorised.

    The parameters are a query; a code's logit is the query's product with the code's
    row of `table`, plus the code's bias. So a network's cost does not grow with its
    width times the number of codes.
    """

    table: Tensor  # (count, codes, width)
    bias: Tensor  # (count, codes)

    @property
    def codes(self) -> int:
        return self.bias.shape[1]

    def ready(self, parameters: Tensor) -> tuple[Conditional, Tensor]:
        logits = len(parameters) * self.bias.numel()
        if not loops_pay(parameters) or logits > KEPT_LOGITS:
            return self, parameters
        plain = {"start": self.bias.detach(), "fill": self.fill}
        return Categorical(self.codes, plain), self.logits(parameters)

    def logits(self, parameters: Tensor) -> Tensor:
        with torch.autocast(parameters.device.type, enabled=False):
            query, table = parameters.transpose(0, 1), self.table.transpose(1, 2)
            return torch.baddbmm(self.bias.unsqueeze(1), query, table).transpose(0, 1)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # one graph for any number of rows
            return super().log_prob(parameters, x)
        codes = x.long()
        each = [
            vocabulary.log_prob(query, table, bias, codes[:, k])
            for k, (query, table, bias) in enumerate(self._products(parameters))
        ]
        return torch.stack(each, 1)

    def entropy(self, parameters: Tensor) -> Tensor:
        with torch.autocast(parameters.device.type, enabled=False):
            each = [vocabulary.entropy(*of) for of in self._products(parameters)]
        return torch.stack(each, 1)

    def log_tails(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        codes = x.long()
        with torch.autocast(parameters.device.type, enabled=False):
            each = [
                vocabulary.log_ranks(*of, codes[:, k])
                for k, of in enumerate(self._products(parameters))
            ]
        return torch.stack(each, 1)

    def _products(self, parameters: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Queries, table and biases of every variable."""
        return zip(parameters.unbind(1), self.table, self.bias, strict=True)


class Mixture(Conditional):
    """What mixtures of numbers share: weights, then locations, then log-scales.

    Locations and scales are in scaled units, (x - location) / scale. A log-scale is
    bent smoothly so that it stays between `floor` and `CEILING`.
    """

    location: Tensor  # (count,)
    scale: Tensor  # (count,)
    floor: Tensor  # (count,)
    atoms: Tensor  # (count, atoms)

    def unpack(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights (of atoms, then components), locations and log-scales."""
        atoms = self.atoms.shape[-1]
        components = (self.width - atoms) // 3
        logits, location, raw = parameters.split(
            [atoms + components, components, components], -1
        )
        floor = self.floor.unsqueeze(-1)
        log_scale = floor + F.softplus(raw - floor) - F.softplus(raw - CEILING)
        return logits.log_softmax(-1), location, log_scale

    def pick(self, log_weight: Tensor, uniform: Tensor, tempering: Tempering) -> Tensor:
        """Indices of atoms and components, from what `unpack` gives."""
        if tempering == EXACT:  # they are normalised
            return pick(log_weight.exp(), uniform)
        return pick(tempering.shares(log_weight), uniform)

    def ready(self, parameters: Tensor) -> tuple[Conditional, Tensor]:
        return self, parameters.contiguous() if loops_pay(parameters) else parameters

    def scaled(self, x: Tensor) -> Tensor:
        """`x` (batch, count, …) in scaled units."""
        trailing = (...,) + (None,) * (x.dim() - 2)
        return (x - self.location[trailing]) / self.scale[trailing]

    def entropy(self, parameters: Tensor) -> Tensor:
        if loops_pay(parameters):
            return self.entropy_by_loop(parameters)
        components = (self.width - self.atoms.shape[-1]) // 3
        rows = max(1, entropy.HELD // (len(self.fill) * components * entropy.NODES))
        if parameters.device.type != "cpu":
            rows = max(1, len(parameters))
        chunks = [self.entropy_of_rows(part) for part in parameters.split(rows)]
        return torch.cat(chunks)

    def entropy_by_loop(self, parameters: Tensor) -> Tensor:
        """The entropies by a compiled loop."""
        raise NotImplementedError

    def entropy_of_rows(self, parameters: Tensor) -> Tensor:
        """The entropies of a few rows."""
        raise NotImplementedError

    def bracket(self, parameters: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Values between which the quantile of `q` lies, each (batch, count)."""
        raise NotImplementedError

    def cdf(self, parameters: Tensor, x: Tensor) -> Tensor:
        return self.cdf_of(*self.unpack(parameters), x)

    def cdf_of(
        self, log_weight: Tensor, location: Tensor, log_scale: Tensor, x: Tensor
    ) -> Tensor:
        """`cdf`, from what `unpack` gives."""
        raise NotImplementedError

    def quantile(self, parameters: Tensor, q: Tensor) -> Tensor:
        unpacked = self.unpack(parameters)
        low, high = self.bracket(parameters, q)
        for _ in range(48):
            middle = self.halve(low, high)
            enough = self.cdf_of(*unpacked, middle) >= q
            low, high = (
                torch.where(enough, low, middle),
                torch.where(enough, middle, high),
            )
        return high

    def halve(self, low: Tensor, high: Tensor) -> Tensor:
        """Values between `low` and `high`."""
        return (low + high) / 2


class Real(Mixture):
    """Mixtures of Gaussians.

    The entropy is a rule with nodes in every component, see `ar_models.entropy`.
    """

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        z = self.scaled(x).clamp(-FAR, FAR)
        constant = 0.5 * math.log(2 * math.pi) + self.scale.log()
        if loops_pay(parameters):
            loop = mixture_loops.log_prob_of_normals
            (found,) = by_loop(loop, parameters, z, self.floor, CEILING)
            return found - constant
        log_weight, location, log_scale = self.unpack(parameters)
        u = (z.unsqueeze(-1) - location) * torch.exp(-log_scale)
        log_densities = log_weight - 0.5 * u.square() - log_scale
        return log_densities.logsumexp(-1) - constant

    def entropy_by_loop(self, parameters: Tensor) -> Tensor:
        (scaled,) = by_loop(
            mixture_loops.entropy_of_normals,
            parameters,
            self.floor,
            CEILING,
            entropy.normal_steps(parameters),
        )
        return scaled + self.scale.log()

    def entropy_of_rows(self, parameters: Tensor) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        scaled = entropy.of_normals(log_weight.exp(), location, log_scale.exp())
        return scaled + self.scale.log()

    def cdf_of(
        self, log_weight: Tensor, location: Tensor, log_scale: Tensor, x: Tensor
    ) -> Tensor:
        u = (self.scaled(x).unsqueeze(-1) - location) * torch.exp(-log_scale)
        below: Tensor = torch.special.ndtr(u)
        return (log_weight.exp() * below).sum(-1).clamp(0, 1)

    def log_tails(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        z = self.scaled(x).clamp(-FAR, FAR)
        if loops_pay(parameters):
            loop = mixture_loops.log_sides_of_normals
            less, more = by_loop(loop, parameters, z, self.floor, CEILING, results=2)
            return torch.stack([less, torch.full_like(less, -torch.inf), more], -1)
        log_weight, location, log_scale = self.unpack(parameters)
        u = (z.unsqueeze(-1) - location) * torch.exp(-log_scale)
        weight = log_weight.exp()

        def side(u: Tensor) -> Tensor:
            # Not ndtr, which loses digits in the tail.
            total = (weight * torch.special.erfc(u * -(0.5**0.5))).sum(-1) / 2
            return logarithm(
                total, lambda far: log_weight[far] + torch.special.log_ndtr(u[far])
            )

        below = side(u)
        return torch.stack([below, torch.full_like(below, -torch.inf), side(-u)], -1)

    def sample(
        self, parameters: Tensor, noise: Tensor, tempering: Tempering = EXACT
    ) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        chosen = self.pick(log_weight, noise[..., 0], tempering).unsqueeze(-1)
        z = location.gather(-1, chosen).squeeze(-1)
        spread = log_scale.gather(-1, chosen).squeeze(-1).exp()
        spread = spread * math.sqrt(tempering.temperature)
        within = tempering.central(noise[..., 1])
        u: Tensor = torch.special.ndtri(within.clamp(TINY, 1 - TINY))
        z = z + spread * u
        return self.location + self.scale * z

    def bracket(self, parameters: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        _, location, log_scale = self.unpack(parameters)
        u = torch.special.ndtri(q.clamp(TINY, 1 - TINY)).unsqueeze(-1)
        z = location + log_scale.exp() * u
        low, high = z.amin(-1), z.amax(-1)
        return self.location + self.scale * low, self.location + self.scale * high


class Integer(Mixture):
    r"""Mixtures of point masses at `atoms` and of discretised logistics.

    With u the distance of an integer from a component's location and d half an
    integer, both in units of the component's scale, its probability is

    .. math:: \sigma(u + d) - \sigma(u - d) = \frac{\sinh d}{\cosh u + \cosh d}

    Mass beyond `lower` or `upper` falls on the bound.

    Reference:
        Salimans, Karpathy, Chen, Kingma, PixelCNN++, 2017.
        https://arxiv.org/abs/1701.05517 (which subtracts the two sigmoids instead).
    """

    lower: Tensor  # (count,), may be -inf
    upper: Tensor  # (count,), may be inf

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        if loops_pay(parameters):
            loop = mixture_loops.log_prob_of_logistics
            (found,) = by_loop(loop, parameters, x, *self.constants())
            return found
        log_weight, location, log_scale = self.unpack(parameters)
        on_atoms, others = self.split(log_weight)
        mass = self.log_mass(location, log_scale, x.unsqueeze(-1)).squeeze(-2)
        terms = others + mass
        if self.atoms.shape[-1]:
            at_atom = x.unsqueeze(-1) == self.atoms
            own = on_atoms.masked_fill(~at_atom, -torch.inf).amax(-1, keepdim=True)
            terms = torch.cat([own, terms], -1)
        return terms.logsumexp(-1)

    def constants(self) -> tuple[Tensor, float, Tensor, Tensor]:
        """What the loops of `mixture_loops` want to know."""
        units = self.location, self.scale, self.lower, self.upper
        return self.floor, CEILING, torch.stack(units, -1), self.atoms

    def entropy_by_loop(self, parameters: Tensor) -> Tensor:
        (found,) = by_loop(
            mixture_loops.entropy_of_logistics,
            parameters,
            *self.constants(),
            entropy.logistic_steps(parameters),
            entropy.LOGISTIC_NODES_SCALE,
            entropy.NEGLIGIBLE,
        )
        return found

    def split(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the atoms and those of the components."""
        atoms = self.atoms.shape[-1]
        return weights[..., :atoms], weights[..., atoms:]

    def log_mass(self, location: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        """Log-probabilities of integers in each component.

        Args:
            location: (batch, count, components).
            log_scale: The same.
            x: (batch, count, n).

        Returns:
            (batch, count, n, components).
        """
        sharpness = torch.exp(-log_scale).unsqueeze(-2)
        u = (self.scaled(x).unsqueeze(-1) - location.unsqueeze(-2)) * sharpness
        d = 0.5 * sharpness / self.scale[:, None, None]
        low = (x <= self.lower[:, None]).unsqueeze(-1)
        high = (x >= self.upper[:, None]).unsqueeze(-1)
        at_low = torch.where(high, 0.0, F.logsigmoid(u + d))
        at_high = torch.where(high, F.logsigmoid(d - u), log_logistic_mass(u, d))
        return torch.where(low, at_low, at_high)

    def entropy_of_rows(self, parameters: Tensor) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        on_atoms, weight = (w.exp() for w in self.split(log_weight))
        spread = self.scale.unsqueeze(-1) * log_scale.exp()
        centre = self.location.unsqueeze(-1) + self.scale.unsqueeze(-1) * location
        smooth = entropy.of_logistics(weight, centre, spread, self.lower, self.upper)
        beside = torch.zeros_like(on_atoms)
        # Most columns are almost all atoms, or none: there is nothing to overlap.
        share = on_atoms.sum(-1)
        both = (share > entropy.NEGLIGIBLE) & (share < 1 - entropy.NEGLIGIBLE)
        _, which = at = both.nonzero(as_tuple=True)
        beside[at] = entropy.mass(
            self.atoms[which],
            weight[at],
            centre[at],
            spread[at],
            self.lower[which],
            self.upper[which],
        )
        return smooth + entropy.of_atoms(on_atoms, beside)

    def cdf_of(
        self, log_weight: Tensor, location: Tensor, log_scale: Tensor, x: Tensor
    ) -> Tensor:
        on_atoms, others = (w.exp() for w in self.split(log_weight))
        x = x.floor()
        edge = self.scaled(x + 0.5).unsqueeze(-1)
        below = torch.sigmoid((edge - location) * torch.exp(-log_scale))
        below = torch.where((x < self.lower).unsqueeze(-1), 0.0, below)
        below = torch.where((x >= self.upper).unsqueeze(-1), 1.0, below)
        reached = x.unsqueeze(-1) >= self.atoms
        total = (on_atoms * reached).sum(-1) + (others * below).sum(-1)
        return total.clamp(0, 1)

    def log_tails(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        if log_prob is None:
            log_prob = self.log_prob(parameters, x)
        if loops_pay(parameters):
            loop = mixture_loops.log_sides_of_logistics
            less, more = by_loop(loop, parameters, x, *self.constants(), results=2)
            return torch.stack([less, log_prob, more], -1)
        log_weight, location, log_scale = self.unpack(parameters)
        on_atoms, others = self.split(log_weight)
        value, sharpness = x.unsqueeze(-1), torch.exp(-log_scale)
        sides = []
        for sign, bound in ((-1, self.lower), (1, self.upper)):
            edge = self.scaled(x + 0.5 * sign).unsqueeze(-1)
            u = sign * (location - edge) * sharpness
            at_bound = sign * (x - bound) >= 0
            beyond = (others.exp() * torch.sigmoid(u)).sum(-1)
            total = beyond.masked_fill(at_bound, 0.0)
            outside = sign * (self.atoms - value) > 0
            total = total + (on_atoms.exp() * outside).sum(-1)

            def terms(
                far: tuple[Tensor, ...],
                u: Tensor = u,
                at_bound: Tensor = at_bound,
                outside: Tensor = outside,
            ) -> Tensor:
                smooth = others[far] + F.logsigmoid(u[far])
                smooth = smooth.masked_fill(at_bound[far].unsqueeze(-1), -torch.inf)
                atoms = on_atoms[far].masked_fill(~outside[far], -torch.inf)
                return torch.cat([atoms, smooth], -1)

            sides.append(logarithm(total, terms))
        below, above = sides
        return torch.stack([below, log_prob, above], -1)

    def sample(
        self, parameters: Tensor, noise: Tensor, tempering: Tempering = EXACT
    ) -> Tensor:
        log_weight, location, log_scale = self.unpack(parameters)
        chosen = self.pick(log_weight, noise[..., 0], tempering).unsqueeze(-1)
        atoms = self.atoms.shape[-1]
        component = (chosen - atoms).clamp(min=0)
        z = location.gather(-1, component).squeeze(-1)
        spread = log_scale.gather(-1, component).squeeze(-1).exp()
        spread = spread * tempering.temperature
        within = tempering.central(noise[..., 1])
        z = z + spread * torch.logit(within.clamp(TINY, 1 - TINY))
        drawn = torch.floor(self.location + self.scale * z + 0.5)
        drawn = drawn.clamp(-MAX_INTEGER, MAX_INTEGER)
        drawn = drawn.clamp(self.lower, self.upper)
        if atoms == 0:
            return drawn
        at = self.atoms.expand(len(drawn), -1, -1)
        atom = at.gather(-1, chosen.clamp(max=atoms - 1)).squeeze(-1)
        return torch.where(chosen.squeeze(-1) < atoms, atom, drawn)

    def bracket(self, parameters: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        far = torch.full_like(q, MAX_INTEGER)
        low = torch.maximum(-far, self.lower) - 1
        return low, torch.minimum(far, self.upper)

    def halve(self, low: Tensor, high: Tensor) -> Tensor:
        return torch.floor((low + high) / 2)


def log_logistic_mass(u: Tensor, d: Tensor) -> Tensor:
    r"""log(sinh d / (cosh u + cosh d)) without cancellation or overflow, for d > 0.

    Example:
        >>> u, d = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 1e-6])
        >>> log_logistic_mass(u, d).exp()
        tensor([2.4492e-01, 9.0353e-08])
    """
    distance = u.abs()
    most = torch.maximum(distance, d)
    if torch.compiler.is_exporting():  # ONNX has no expm1, but a sinh
        near = d.clamp(max=1)
        log_width = torch.where(
            d < 1, (2 * near.sinh()).log() - near, torch.log1p(-torch.exp(-2 * d))
        )
    else:
        log_width = torch.log(-torch.expm1(-2 * d))
    terms = (
        torch.exp(distance - most)
        + torch.exp(-distance - most)
        + torch.exp(d - most)
        + torch.exp(-d - most)
    )
    return (d - most) + log_width - terms.log()


def pick(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Indices by inverse cdf: (…, n) and (…) -> (…), int64."""
    cumulative = probabilities.cumsum(-1)
    threshold = (uniform * cumulative[..., -1]).unsqueeze(-1)
    index = (cumulative <= threshold).sum(-1)
    return index.clamp(max=probabilities.shape[-1] - 1)


class Layout(Grouping):
    """Which parameters each variable's conditional needs, and where they stand.

    `size` is the length of the parameter vector, `owner` (size,) the variable of each
    parameter. Vocabularies of more than 64 codes get `4 * embedding` parameters and a
    learned table of codes, which this module holds.

    Example:
        >>> from ar_models.variables import binary
        >>> Layout.of(binary(3)).owner
        tensor([0, 1, 2])
    """

    @classmethod
    def of(
        cls,
        variables: Sequence[Variable],
        components: int = 8,
        embedding: int = 16,
        *,
        factorise: bool = True,
    ) -> Self:
        """The layout for `variables`, with mixtures of `components`.

        Without `factorise`, large vocabularies too have a parameter per code, for
        families that predict all variables by one map.
        """
        buckets: dict[tuple[str, int], list[int]] = {}
        for i, v in enumerate(variables):
            width = len(v.atoms) if v.kind == "integer" else v.size
            buckets.setdefault((v.kind, width), []).append(i)
        groups = [
            _group(
                kind,
                [variables[i] for i in members],
                components,
                4 * embedding if factorise else None,
            )
            for (kind, _), members in buckets.items()
        ]
        return cls(groups, list(buckets.values()))

    def initial_bias(self) -> Tensor:
        """Parameters (size,) of about the marginal distributions in training."""
        return torch.cat([group.get_buffer("start").flatten() for group in self.groups])


def _group(
    kind: str, variables: list[Variable], components: int, rank: int | None
) -> Conditional:
    fill = torch.zeros(len(variables))
    if kind == "binary":
        logit = [math.log(_shares(v, 2)[1] / _shares(v, 2)[0]) for v in variables]
        return Binary(1, {"start": torch.tensor(logit).unsqueeze(-1), "fill": fill})
    if kind == "categorical":
        size = variables[0].size
        shares = torch.tensor([_shares(v, size) for v in variables]).log()
        if size <= LARGE or rank is None:
            return Categorical(size, {"start": shares, "fill": fill})
        table = torch.randn(len(variables), size, rank) / math.sqrt(rank)
        start = torch.zeros(len(variables), rank)
        return Vocabulary(
            rank, {"start": start, "fill": fill}, {"table": table, "bias": shares}
        )
    return _mixture(kind, variables, components)


def _mixture(kind: str, variables: list[Variable], components: int) -> Mixture:
    atoms = torch.tensor([v.atoms if kind == "integer" else () for v in variables])
    scale = torch.tensor([v.scale for v in variables])
    constants = {
        "start": torch.stack([_mixture_start(v, components) for v in variables]),
        "fill": torch.tensor([v.location for v in variables]),
        "location": torch.tensor([v.location for v in variables]),
        "scale": scale,
        "atoms": atoms.reshape(len(variables), -1),
    }
    width = atoms.shape[-1] + 3 * components
    if kind == "real":
        return Real(width, {**constants, "floor": torch.full_like(scale, REAL_FLOOR)})
    lower = [-math.inf if v.lower is None else v.lower for v in variables]
    upper = [math.inf if v.upper is None else v.upper for v in variables]
    floor = (UNIT_FLOOR / scale).clamp(min=INTEGER_FLOOR).log()
    bounds = {"lower": torch.tensor(lower), "upper": torch.tensor(upper)}
    return Integer(width, {**constants, **bounds, "floor": floor})


def _shares(variable: Variable, size: int) -> list[float]:
    """Shares of `size` outcomes, none of them zero; equal ones if none are known."""
    shares = list(variable.frequencies) or [1 / size] * size
    if len(shares) != size:
        raise ValueError(
            f"{variable.name}: {size} frequencies are needed, got {len(shares)}"
        )
    return [max(share, RARE) for share in shares]


def _mixture_start(variable: Variable, components: int) -> Tensor:
    """Weights from the shares, components spread over the knots; (width,)."""
    atoms = len(variable.atoms) if variable.kind == "integer" else 0
    *on_atoms, others = _shares(variable, atoms + 1) if atoms else [1.0]
    weights = torch.tensor([*on_atoms, *[others / components] * components])
    location, scale = variable.location, variable.scale
    knots = variable.knots or (location - scale, location + scale)
    at = (np.arange(components) + 0.5) / components
    grid = np.linspace(0, 1, len(knots))
    scaled = (np.asarray(knots) - location) / scale
    middle = np.interp(at, grid, scaled)
    spread = np.interp(at + 0.5 / components, grid, scaled) - np.interp(
        at - 0.5 / components, grid, scaled
    )
    # Half the distance to the neighbours: narrower ones fit better, and may widen.
    log_scale = np.log(np.maximum(spread / 2, 0.02))
    start = np.concatenate([middle, log_scale])
    return torch.cat([weights.log(), torch.tensor(start, dtype=torch.float32)])


def precise(parameters: Tensor) -> Tensor:
    """The same in float32 at least: under autocast networks give less."""
    return parameters if parameters.dtype == torch.float64 else parameters.float()


class Conditionals:
    """The conditionals of a batch of rows, all variables at once.

    They compute in float32 at least, also under autocast. Methods return
    (batch, dim) unless they say otherwise; `x` may hold NaN where a variable is
    absent.

    Args:
        layout: The layout of all variables, or the `select`ion of some.
        parameters: (batch, layout.size).
    """

    def __init__(self, layout: Grouping, parameters: Tensor) -> None:
        self.layout = layout
        self.parameters = precise(parameters)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probabilities or log-densities of `x`, in nats; 0 where it is NaN."""

        def of_group(k: int, group: Conditional, parameters: Tensor) -> Tensor:
            return group.log_prob(parameters, self.layout.take(k, values))

        absent, values = self._filled(x)
        return self._restore(of_group).masked_fill(absent, 0.0)

    def entropy(self) -> Tensor:
        """Entropies in nats, as if every variable were present.

        Exact for codes. Of mixtures to about 0.05 nats, see `ar_models.entropy`.
        """
        return self._restore(lambda k, group, parameters: group.entropy(parameters))

    def cdf(self, x: Tensor) -> Tensor:
        """The probabilities of at most `x`; NaN where it is NaN."""

        def of_group(k: int, group: Conditional, parameters: Tensor) -> Tensor:
            return group.cdf(parameters, self.layout.take(k, values))

        absent, values = self._filled(x)
        return self._restore(of_group).masked_fill(absent, torch.nan)

    def log_tails(self, x: Tensor, log_prob: Tensor | None = None) -> Tensor:
        """Log-probabilities of what lies on either side of `x`, (batch, dim, 3), nats.

        Of numbers those of less, of as much and of more; of codes those of the less
        likely, as likely and likelier codes. NaN where `x` is NaN.

        Args:
            x: The rows.
            log_prob: What `log_prob` gave for them, if it is known: that is quicker.
        """

        def of_group(k: int, group: Conditional, parameters: Tensor) -> Tensor:
            known = None if log_prob is None else self.layout.take(k, log_prob)
            return group.log_tails(parameters, self.layout.take(k, values), known)

        absent, values = self._filled(x)
        tails = self._restore(of_group)
        return tails.masked_fill(absent.unsqueeze(-1), torch.nan)

    def sample(self, noise: Tensor, tempering: Tempering = EXACT) -> Tensor:
        """Values from uniform numbers (batch, dim, 2), by inverse cdf.

        The first number picks the code or component, the second the value. Parents are
        not looked at.
        """

        def of_group(k: int, group: Conditional, parameters: Tensor) -> Tensor:
            uniform = self.layout.take(k, noise).to(parameters.dtype)
            return group.sample(parameters, uniform, tempering)

        return self._restore(of_group)

    def quantile(self, q: Tensor | float) -> Tensor:
        """The least values whose cdf is at least `q`, (batch, dim) or a number.

        NaN for codes, which have no order.
        """
        shape = len(self.parameters), self.layout.dim
        whole = torch.as_tensor(q, device=self.parameters.device).expand(shape)

        def of_group(k: int, group: Conditional, parameters: Tensor) -> Tensor:
            return group.quantile(
                parameters, self.layout.take(k, whole).to(parameters.dtype)
            )

        return self._restore(of_group)

    def log_probabilities(self, i: int) -> Tensor:
        """Of each code of the binary or categorical variable `i`: (batch, size)."""
        group, parameters = self._alone(i)
        return group.log_probabilities(parameters).squeeze(1)

    def probabilities(self, i: int) -> Tensor:
        """Of each code of the binary or categorical variable `i`: (batch, size)."""
        group, parameters = self._alone(i)
        return group.probabilities(parameters).squeeze(1)

    def _alone(self, i: int) -> tuple[Binary | Categorical, Tensor]:
        """The group of variable `i` alone, which has codes, and its parameters."""
        for group, members, parameters in zip(
            self.layout.groups,
            self.layout.members,
            self.layout.split(self.parameters),
            strict=True,
        ):
            if i in members:
                if not isinstance(group, Binary | Categorical):
                    break
                k = torch.tensor([members.index(i)], device=parameters.device)
                return group.select(k), parameters[:, k]
        raise ValueError(f"variable {i} has no codes")

    def _filled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where `x` is NaN, and `x` with something else there."""
        absent = x.isnan()
        fill = self.layout.restore(
            [group.get_buffer("fill").unsqueeze(0) for group in self.layout.groups]
        )
        return absent, torch.where(absent, fill, x.to(self.parameters.dtype))

    @cached_property
    def _groups(self) -> list[tuple[Conditional, Tensor]]:
        """Each group and its parameters, as `Conditional.ready` gives them."""
        found = []
        split = self.layout.split(self.parameters)
        for group, parameters in zip(self.layout.groups, split, strict=True):
            assert isinstance(group, Conditional)
            found.append(group.ready(parameters))
        return found

    def _restore(
        self, of_group: Callable[[int, Conditional, Tensor], Tensor]
    ) -> Tensor:
        parts = [of_group(k, *of) for k, of in enumerate(self._groups)]
        return self.layout.restore(parts)


class Heads(nn.Module):
    """Parameters from one hidden vector per variable, each with its own linear map.

    For families that compute h (batch, dim, width), entry i from the variables before
    i. Starts near the marginal distributions.

    Args:
        layout: Of the model's variables.
        width: Length of each hidden vector.
    """

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        # The layout's tables belong to the model that holds it.
        self._layout = [layout]
        self.weight = nn.Parameter(torch.randn(layout.size, width) * 0.01)
        self.bias = nn.Parameter(layout.initial_bias())

    def forward(self, h: Tensor) -> Tensor:
        """The parameters (batch, size) from hidden vectors (batch, dim, width)."""
        layout = self._layout[0]
        weight, bias = self.weight[layout.places], self.bias[layout.places]
        parts = []
        start = 0
        for k, section in enumerate(layout.sections):
            rows = weight[start : start + section]
            own = rows.unflatten(0, (len(layout.members[k]), -1))
            parts.append(
                torch.einsum("bnh,nwh->bnw", layout.take(k, h), own).flatten(1)
            )
            start += section
        return torch.cat(parts, -1) + bias

    def alone(self, h: Tensor, i: int) -> tuple[Conditional, Tensor]:
        """Variable `i`, and its parameters: (batch, width) -> (batch, n)."""
        group, at = self._layout[0].alone(i)
        assert isinstance(group, Conditional)
        return group, F.linear(h, self.weight[at], self.bias[at])
