"""Nested distributions of integers over decimal intervals, for uneven numbers."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.distributions import entropy
from ar_models.distributions.base import GroupDistribution
from ar_models.distributions.interval_mass import interval_mass, one_minus_exp
from ar_models.distributions.logistic_mixture import LogisticMixture
from ar_models.distributions.mixtures import UNIFORM_MARGIN
from ar_models.distributions.sampling import (
    EXACT_SAMPLING,
    SamplingParams,
    sample_categorical,
    split_uniform,
)
from ar_models.variables import MAX_INTEGER, Variable

FAR = 1e12
"""Bound that stands for infinity; gradients stay finite up to there."""

MIN_LEAF_MASS = 1e-6
"""Probability that is added to that of each leaf in the mixture, divided evenly."""

MAX_COMPONENTS = 4
"""Number of components at most: the free logits do the rest, at less cost."""

MIN_OUTER_SHARE = 5e-3
"""Probability of an outer leaf below which the entropy within it is neglected."""

ENTROPY_PATHS = 4
"""Number of paths down the tree over which the entropy of digits is averaged."""

GOLDEN_RATIO = 0.6180339887498949
"""Multiples of this, modulo 1, are spread evenly: they choose the digits of paths."""

MAX_BLOCK_EDGES = 2**17
"""Approximate number of edges in components of a block of rows that caches hold."""


class Unpacked(NamedTuple):
    """Parameters of interval trees in the form in which methods use them.

    Attributes:
        leaves: Log-probabilities of the leaves, (batch, count, leaves).
        digits: Logits added to digits, by place, (batch, count, places, 10).
        log_weight: Log-weights of the mixture's components, (batch, count, components).
        location: Their locations, in scaled units.
        log_scale: Their log-scales, likewise.
    """

    leaves: Tensor
    digits: Tensor
    log_weight: Tensor
    location: Tensor
    log_scale: Tensor


class Step(NamedTuple):
    """One place of a number below its leaf.

    Attributes:
        active: Where the leaf has this place, (batch, count).
        digit: The digit, (batch, count).
        log_probs: Log-probabilities of all digits, (batch, count, 10).
    """

    active: Tensor
    digit: Tensor
    log_probs: Tensor

    def chosen(self) -> Tensor:
        """Return the log-probability of the digit; 0 where the place is not active."""
        chosen = self.log_probs.gather(-1, self.digit.unsqueeze(-1)).squeeze(-1)
        return torch.where(self.active, chosen, 0.0)


class IntervalTree(LogisticMixture):
    """Hierarchical softmax over decimal intervals on top of a mixture of logistics.

    The integers are divided into leaves: intervals whose width is a power of ten, and
    two outer ones without end. Below a bounded leaf the further digits follow, ten
    children per place. The logit of a leaf or a digit is the log of the probability
    that the mixture gives to its interval, plus a free logit: with free logits of 0 the
    distribution is smooth, with others it has heaps, gaps and preferred last digits.
    Within an outer leaf the distribution is the mixture, truncated.

    The parameters of a variable are the free logits of its leaves and, by place, of its
    digits, followed by those of the mixture, which has no atoms.

    Reference:
        Morin, Bengio, Hierarchical probabilistic neural network language model, 2005
        (a softmax in the form of a tree).

    Attributes:
        boundaries: Edges of the leaves, (count, leaves + 1); leaves that only pad have
            the width 0.
        levels: Number of places below each leaf, (count, leaves).
        last: Index of the upper outer leaf, (count,).
        possible: Whether a leaf contains possible values, (count, leaves).
        places: Powers of ten of the places, (count, places).
        contexts: Log-frequencies of digits relative to equal ones, (count, contexts,
            10); contexts are the leaves, for the first digit below each, and each
            digit at each place, from the tens on, for the digit that follows it.
    """

    boundaries: Tensor
    levels: Tensor
    last: Tensor
    possible: Tensor
    places: Tensor
    contexts: Tensor

    @classmethod
    def of(cls, variables: Sequence[Variable], components: int) -> Self:
        """Return the trees of integer variables over mixtures of logistics."""
        mixture = LogisticMixture.of(variables, min(components, MAX_COMPONENTS))
        most = max(len(v.edges) for v in variables)
        boundaries = torch.tensor(
            [[-FAR, *v.edges, *[FAR] * (most + 1 - len(v.edges))] for v in variables]
        )
        widths = boundaries.diff(dim=-1)
        bounded = widths < FAR / 2
        levels = widths.clamp(min=1).log10().round() * bounded
        possible = widths > 0
        last = torch.tensor([len(v.edges) for v in variables])
        rows = torch.arange(len(variables))
        possible[:, 0] &= mixture.lower < boundaries[:, 1]
        possible[rows, last] &= mixture.upper >= boundaries[rows, last]
        places = 10.0 ** torch.arange(int(levels.max()))
        contexts = levels.shape[1] + 10 * max(len(places) - 1, 0)
        own = {
            "boundaries": boundaries,
            "levels": levels.long(),
            "last": last,
            "possible": possible,
            "places": places.expand(len(variables), -1).clone(),
            "contexts": torch.zeros(len(variables), contexts, 10),
        }
        leaves, digits = levels.shape[1], 10 * len(places)
        tensors = mixture.tensors() | own
        tree = cls(leaves + digits + mixture.width, tensors)
        tree.initial_bias = F.pad(mixture.initial_bias, (leaves + digits, 0))
        smooth = tree.unpack(tree.initial_bias.unsqueeze(0)).leaves.squeeze(0)
        for row, variable in enumerate(variables):
            if variable.frequencies:
                _set_frequencies(tree, row, variable, smooth[row])
        return tree

    @property
    def components(self) -> int:
        """Number of components of the mixture."""
        free = self.levels.shape[1] + 10 * self.places.shape[1]
        return (self.width - free) // 3

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        if torch.compiler.is_exporting():
            return self, parameters
        blocks = self._blocks(parameters)
        log_probs = torch.cat([self.unpack(block).leaves for block in blocks])
        leaves = self.levels.shape[1]
        prepared = PreparedTree(self.width, self._buffers)  # type: ignore[arg-type] # none is None
        return prepared, torch.cat([log_probs, parameters[..., leaves:]], -1)

    def _blocks(self, parameters: Tensor) -> Sequence[Tensor]:
        """Divide rows into blocks that a CPU's caches hold."""
        rows = MAX_BLOCK_EDGES // (self.levels.numel() * self.components)
        whole = parameters.requires_grad or parameters.device.type != "cpu"
        size = max(1, len(parameters) if whole else rows)
        return list(parameters.split(size))

    def unpack(self, parameters: Tensor) -> Unpacked:  # type: ignore[override] # two more fields
        """Return the log-probabilities of leaves, free digit logits and the mixture."""
        leaves, places = self.levels.shape[1], self.places.shape[1]
        free, digits, mixture = parameters.split(
            [leaves, 10 * places, 3 * self.components], -1
        )
        components = super().unpack(mixture)
        log_probs = self.leaf_log_probs(free, *components)
        return Unpacked(log_probs, digits.unflatten(-1, (places, 10)), *components)

    def leaf_log_probs(
        self, free: Tensor, log_weight: Tensor, location: Tensor, log_scale: Tensor
    ) -> Tensor:
        """Compute log-probabilities of leaves from free logits and the mixture."""
        edges = self.scaled_edges(self.boundaries)
        widths = self.boundaries.diff(dim=-1) / self.scale.unsqueeze(-1)
        mass = interval_mass(edges, widths, log_weight, location, log_scale)
        logits = (mass + MIN_LEAF_MASS).log() + free
        return logits.masked_fill(~self.possible, -torch.inf).log_softmax(-1)

    def scaled_edges(self, edges: Tensor) -> Tensor:
        """Convert least integers (*batch, count, n) of intervals to scaled units."""
        return (edges - 0.5 - self.location.unsqueeze(-1)) / self.scale.unsqueeze(-1)

    def digit_log_probs(
        self, unpacked: Unpacked, start: Tensor, leaf: Tensor, place: int
    ) -> Tensor:
        """Compute log-probabilities of the digits at a place.

        Args:
            unpacked: Result of `unpack`.
            start: Least integers of the intervals that are divided, (batch, count, n).
            leaf: The leaves that these are in, likewise.
            place: Number of the place, from 0 for the last digit.

        Returns:
            (batch, count, n, 10).
        """
        power = 10.0**place
        steps = power * torch.arange(11, dtype=start.dtype, device=start.device)
        edges = (start.unsqueeze(-1) + steps).flatten(2)
        edges = self.scaled_edges(edges).unflatten(-1, (-1, 11))
        widths = (power / self.scale)[:, None, None]
        components = (part.unsqueeze(-2) for part in unpacked[2:])
        mass = interval_mass(edges, widths, *components)
        level = self.of_leaf(self.levels, leaf)
        floor = MIN_LEAF_MASS * 10.0 ** (place - level.to(start.dtype))
        logits = (mass + floor.unsqueeze(-1)).log()
        logits = logits + unpacked.digits[..., place, :].unsqueeze(-2)
        above = (start / (10 * power)).floor().remainder(10).long()
        later = (self.levels.shape[1] + 10 * place + above).clamp(
            max=self.contexts.shape[1] - 1
        )
        context = torch.where(level > place + 1, later, leaf)
        variable = torch.arange(start.shape[1], device=start.device)
        logits = logits + self.contexts[variable[:, None], context]
        return logits.log_softmax(-1)

    def leaf_of(self, x: Tensor) -> Tensor:
        """Return the indices of the leaves that integers (batch, count) are in."""
        return (x.unsqueeze(-1) >= self.boundaries[:, 1:-1]).sum(-1)

    def of_leaf(self, values: Tensor, leaf: Tensor) -> Tensor:
        """Select values (count, leaves) of leaves (batch, count, *n)."""
        flat = leaf.reshape(*leaf.shape[:2], -1)
        return values.expand(leaf.shape[0], -1, -1).gather(-1, flat).view_as(leaf)

    def path(self, unpacked: Unpacked, x: Tensor, leaf: Tensor) -> Iterator[Step]:
        """Yield the places of integers `x` (batch, count) below their leaves."""
        level = self.of_leaf(self.levels, leaf)
        for place in reversed(range(self.places.shape[1])):
            power = 10.0**place
            start = (x / (10 * power)).floor() * (10 * power)
            digit = ((x - start) / power).floor().clamp(0, 9).long()
            log_probs = self.digit_log_probs(
                unpacked, start.unsqueeze(-1), leaf.unsqueeze(-1), place
            )
            yield Step(place < level, digit, log_probs.squeeze(-2))

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        unpacked = self.unpack(parameters)
        leaf = self.leaf_of(x)
        total = unpacked.leaves.gather(-1, leaf.unsqueeze(-1)).squeeze(-1)
        for step in self.path(unpacked, x, leaf):
            total = total + step.chosen()
        low = torch.where(x <= self.lower, -FAR, x)
        high = torch.where(x >= self.upper, FAR, x + 1)
        begin, end = self._outer_leaf(leaf)
        outer = self.log_interval(unpacked, low, high) - self.log_interval(
            unpacked, begin, end
        )
        return total + torch.where(self._is_outer(leaf), outer, 0.0)

    def _is_outer(self, leaf: Tensor) -> Tensor:
        """Return which leaves (batch, count) are outer ones."""
        return (leaf == 0) | (leaf == self.last)

    def _outer_leaf(self, leaf: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds of outer leaves (batch, count), the upper one for others."""
        inner = self.boundaries[:, 1]
        outer = self.boundaries.gather(-1, self.last.unsqueeze(-1)).squeeze(-1)
        is_low = leaf == 0
        return torch.where(is_low, -FAR, outer), torch.where(is_low, inner, FAR)

    def log_interval(self, unpacked: Unpacked, low: Tensor, high: Tensor) -> Tensor:
        """Compute log-probabilities of low <= v < high in the mixture alone."""
        sharpness = torch.exp(-unpacked.log_scale)
        edges = self.scaled_edges(torch.stack([low, high], -1))
        from_low, to_high = (
            (edge - unpacked.location) * sharpness for edge in edges.split(1, -1)
        )
        widths = ((high - low) / self.scale).unsqueeze(-1) * sharpness
        terms = F.logsigmoid(to_high) + F.logsigmoid(-from_low)
        terms = terms + one_minus_exp(widths).log()
        return (unpacked.log_weight + terms).logsumexp(-1)

    def cdf_unpacked(self, *unpacked_and_x: Tensor) -> Tensor:
        *parts, x = unpacked_and_x
        x = x.floor()
        unpacked = Unpacked(*parts)
        steps = self.path(unpacked, x + 1, self.leaf_of(x + 1))
        total = self._log_beyond(unpacked, x + 1, steps, above=False).exp()
        total = torch.where(x < self.lower, 0.0, total.clamp(0, 1))
        return torch.where(x >= self.upper, 1.0, total)

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        if log_prob is None:
            log_prob = self.log_prob(parameters, x)
        unpacked = self.unpack(parameters)
        steps = list(self.path(unpacked, x, self.leaf_of(x)))
        below = self._log_beyond(unpacked, x, steps, above=False)
        above = self._log_beyond(unpacked, x, steps, above=True)
        below = below.masked_fill(x <= self.lower, -torch.inf)
        above = above.masked_fill(x >= self.upper, -torch.inf)
        return torch.stack([below, log_prob, above], -1)

    def _log_beyond(  # type: ignore[override] # of other parts
        self, unpacked: Unpacked, x: Tensor, steps: Iterable[Step], *, above: bool
    ) -> Tensor:
        """Compute log-probabilities of integers below or above `x` (batch, count)."""
        leaf = self.leaf_of(x)
        every = torch.arange(unpacked.leaves.shape[-1], device=x.device)
        digits = torch.arange(10, device=x.device)

        def log_sum(log_probs: Tensor, index: Tensor, at: Tensor) -> Tensor:
            at = at.unsqueeze(-1)
            kept = index > at if above else index < at
            return log_probs.masked_fill(~kept, -torch.inf).logsumexp(-1)

        terms = [log_sum(unpacked.leaves, every, leaf)]
        prefix = unpacked.leaves.gather(-1, leaf.unsqueeze(-1)).squeeze(-1)
        begin, end = self._outer_leaf(leaf)
        low, high = (x + 1, end) if above else (begin, x)
        outer = self.log_interval(unpacked, low, torch.maximum(low, high))
        outer = prefix + outer - self.log_interval(unpacked, begin, end)
        terms.append(outer.masked_fill(~self._is_outer(leaf), -torch.inf))
        for step in steps:
            term = prefix + log_sum(step.log_probs, digits, step.digit)
            terms.append(term.masked_fill(~step.active, -torch.inf))
            prefix = prefix + step.chosen()
        return torch.stack(terms, -1).logsumexp(-1).clamp(max=0)

    def sample(
        self,
        parameters: Tensor,
        noise: Tensor,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Sample leaves, then digits; each decision has its temperature and nucleus."""
        unpacked = self.unpack(parameters)
        shares, uniform = sampling.probabilities(unpacked.leaves), noise[..., 1]
        leaf = sample_categorical(shares, noise[..., 0])
        value = self.of_leaf(self.boundaries[:, :-1].to(noise.dtype), leaf)
        level = self.of_leaf(self.levels, leaf)
        for place in reversed(range(self.places.shape[1])):
            log_probs = self.digit_log_probs(
                unpacked, value.unsqueeze(-1), leaf.unsqueeze(-1), place
            )
            digit, rest = split_uniform(
                sampling.probabilities(log_probs.squeeze(-2)), uniform
            )
            active = place < level
            value = torch.where(active, value + digit * 10.0**place, value)
            uniform = torch.where(active, rest, uniform)
        outer = self._sample_outer(unpacked, leaf, uniform, sampling)
        return torch.where(self._is_outer(leaf), outer, value)

    def _sample_outer(
        self,
        unpacked: Unpacked,
        leaf: Tensor,
        uniform: Tensor,
        sampling: SamplingParams,
    ) -> Tensor:
        """Sample the mixture truncated to outer leaves, (batch, count)."""
        begin, end = self._outer_leaf(leaf)
        is_low = leaf == 0
        sign = torch.where(is_low, -1.0, 1.0).to(uniform.dtype)
        edge = self.scaled_edges(torch.where(is_low, end, begin).unsqueeze(-1))
        sharpness = torch.exp(-unpacked.log_scale)
        distance = sign.unsqueeze(-1) * (unpacked.location - edge) * sharpness
        log_share = F.logsigmoid(distance)
        weights = sampling.probabilities(unpacked.log_weight + log_share)
        component, rest = split_uniform(weights, uniform)
        at = component.unsqueeze(-1)
        location, log_scale, share = (
            part.gather(-1, at).squeeze(-1)
            for part in (unpacked.location, unpacked.log_scale, log_share)
        )
        rest = sampling.shrink_uniform(rest).clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN)
        log_tail = share + rest.log()
        beyond = torch.log1p(-log_tail.exp()) - log_tail
        scaled = location + sign * log_scale.exp() * beyond * sampling.temperature
        value = torch.floor(self.location + self.scale * scaled + 0.5)
        value = torch.where(
            is_low, torch.minimum(value, end - 1), torch.maximum(value, begin)
        )
        value = torch.maximum(torch.minimum(value, self.upper), self.lower)
        return value.clamp(-MAX_INTEGER, MAX_INTEGER)

    def entropy(self, parameters: Tensor) -> Tensor:
        return torch.cat([*map(self._entropy_of_rows, self._blocks(parameters))])

    def _entropy_of_rows(self, parameters: Tensor) -> Tensor:
        """Add the entropies of the leaf, the digits below and the outer leaves."""
        unpacked = self.unpack(parameters)
        shares = unpacked.leaves.exp()
        total: Tensor = torch.special.entr(shares).sum(-1)
        if self.places.shape[1]:
            total = total + self._entropy_of_digits(unpacked, shares)
        ends = self.last.expand(len(shares), -1)
        for leaf in (torch.zeros_like(ends), ends):
            share = shares.gather(-1, leaf.unsqueeze(-1)).squeeze(-1)
            at = (share > MIN_OUTER_SHARE).any(0).nonzero().squeeze(-1)
            if len(at):
                parts = Unpacked(*(part[:, at] for part in unpacked))
                own = self.select(at)._entropy_of_outer(parts, leaf[:, at])
                total[:, at] += share[:, at] * own
        return total

    def _entropy_of_digits(self, unpacked: Unpacked, shares: Tensor) -> Tensor:
        """Compute the mean entropy of the digits along evenly spread paths.

        Paths start at leaves in proportion to their probability times their number of
        places, as the entropy per place differs little between leaves.
        """
        weights = (shares * self.levels).cumsum(-1)
        total = weights[..., -1:].clamp(min=1e-30)
        number = torch.arange(ENTROPY_PATHS, device=shares.device)
        at = (number.to(shares.dtype) + 0.5) / ENTROPY_PATHS
        reached = weights.unsqueeze(-2) <= (total * at).unsqueeze(-1)
        leaf = reached.sum(-1).clamp(max=shares.shape[-1] - 1)
        start = self.of_leaf(self.boundaries[:, :-1].to(shares.dtype), leaf)
        level = self.of_leaf(self.levels, leaf)
        each = torch.zeros_like(start)
        for place in reversed(range(self.places.shape[1])):
            active = place < level
            log_probs = self.digit_log_probs(unpacked, start, leaf, place)
            probabilities = log_probs.exp()
            own = -(probabilities * log_probs).sum(-1)
            each = each + torch.where(active, own, 0.0)
            at = (at + (place + 1) * GOLDEN_RATIO).remainder(1)
            digit = sample_categorical(probabilities, at.expand_as(start))
            start = torch.where(active, start + digit * 10.0**place, start)
        mean: Tensor = (each / level.clamp(min=1)).mean(-1) * total.squeeze(-1)
        return mean

    def _entropy_of_outer(self, unpacked: Unpacked, leaf: Tensor) -> Tensor:
        """Compute the entropy of the mixture truncated to outer leaves."""
        begin, end = self._outer_leaf(leaf)
        is_low = leaf == 0
        weight, spread = unpacked.log_weight.exp(), unpacked.log_scale.exp()
        spread = spread * self.scale.unsqueeze(-1)
        centre = unpacked.location * self.scale.unsqueeze(-1)
        centre = centre + self.location.unsqueeze(-1)
        lower = torch.where(is_low, self.lower, begin - 1)
        upper = torch.where(is_low, end, self.upper)
        whole = entropy.logistic_mixture_entropy(weight, centre, spread, lower, upper)
        log_mass = self.log_interval(unpacked, begin, end)
        mass = log_mass.exp()
        inside = whole - torch.special.entr(1 - mass)
        exact = inside / mass.clamp(min=MIN_LEAF_MASS) + log_mass
        widest = 1 + spread.amax(-1).log()  # the entropy of an exponential tail
        found = torch.where(mass > math.sqrt(MIN_LEAF_MASS), exact, widest)
        return found.clamp(min=0)


class PreparedTree(IntervalTree):
    """Interval trees whose first parameters are log-probabilities of the leaves."""

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        return self, parameters

    def leaf_log_probs(
        self, free: Tensor, log_weight: Tensor, location: Tensor, log_scale: Tensor
    ) -> Tensor:
        return free


def _set_frequencies(
    tree: IntervalTree, row: int, variable: Variable, smooth: Tensor
) -> None:
    """Let the distribution of a variable start at its training frequencies.

    Args:
        tree: The distribution, whose `initial_bias` and `contexts` change.
        row: Position of the variable.
        variable: Its `frequencies` are those of its leaves, then those of the digits in
            each context.
        smooth: Log-probabilities of its leaves by the mixture alone, (leaves,).
    """
    leaves, places = len(variable.edges) + 1, int(tree.levels[row].max())
    later = 10 * max(places - 1, 0)
    known = variable.initial_frequencies(leaves + 10 * (leaves + later))
    logs = torch.tensor(known).log()
    possible = tree.possible[row, :leaves]
    added = (logs[:leaves] - smooth[:leaves]).masked_fill(~possible, 0)
    tree.initial_bias[row, :leaves] = added
    digits = logs[leaves:].view(-1, 10) + math.log(10)
    first = tree.levels.shape[1]
    tree.contexts[row, :leaves] = digits[:leaves]
    tree.contexts[row, first : first + later] = digits[leaves:]
