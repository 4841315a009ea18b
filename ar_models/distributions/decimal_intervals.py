"""Decimal intervals of integers and their probabilities, level by level."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ar_models.distributions.interval_mass import interval_mass
from ar_models.distributions.logistic_mixture import LogisticMixture
from ar_models.distributions.marginal_mixing import mix
from ar_models.distributions.pareto_tails import ParetoTails, tail_constants
from ar_models.variables import Variable

FAR = 1e12
"""Bound that stands for infinity; gradients stay finite up to there."""

MIN_LEAF_MASS = 1e-6
"""Probability that is added to that of each leaf in the mixture, divided evenly."""

MAX_COMPONENTS = 4
"""Number of components at most: the free logits do the rest, at less cost."""


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


class DecimalIntervals(LogisticMixture):
    """Decimal intervals of integers and their probabilities; see `IntervalTree`.

    Attributes:
        boundaries: Edges of the leaves, (count, leaves + 1); leaves that only pad have
            the width 0.
        levels: Number of places below each leaf, (count, leaves).
        last: Index of the upper outer leaf, (count,).
        possible: Whether a leaf contains possible values, (count, leaves).
        places: Powers of ten of the places, (count, places).
        tail_scale: Scales of the tails in the two outer leaves, (count, 2).
        tail_shape: Their shapes, likewise.
        tail_entropy: Their entropies in nats, likewise.
        marginal: Frequencies of the leaves in the training data, (count, leaves).
        contexts: Log-frequencies of digits relative to equal ones, (count, contexts,
            10); contexts are the leaves, for the first digit below each, and each
            digit at each place, from the tens on, for the digit that follows it.
    """

    boundaries: Tensor
    levels: Tensor
    last: Tensor
    possible: Tensor
    places: Tensor
    tail_scale: Tensor
    tail_shape: Tensor
    tail_entropy: Tensor
    marginal: Tensor
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
        tail_scale, tail_shape, tail_entropy = tail_constants(variables)
        own = {
            "tail_scale": tail_scale,
            "tail_shape": tail_shape,
            "tail_entropy": tail_entropy,
            "boundaries": boundaries,
            "levels": levels.long(),
            "last": last,
            "possible": possible,
            "places": places.expand(len(variables), -1).clone(),
            "marginal": torch.zeros(levels.shape),
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
        initial = tree.unpack(tree.initial_bias.unsqueeze(0)).leaves.squeeze(0)
        tree.marginal = initial.exp()
        return tree

    @property
    def components(self) -> int:
        """Number of components of the mixture."""
        free = self.levels.shape[1] + 10 * self.places.shape[1]
        return (self.width - free) // 3

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
        own = logits.masked_fill(~self.possible, -torch.inf).log_softmax(-1)
        return self.mix_leaves(own)

    def mix_leaves(self, log_probs: Tensor) -> Tensor:
        """Mix log-probabilities of leaves (batch, count, leaves) with marginal ones."""
        if not self.is_mixed:
            return log_probs
        return mix(log_probs.exp(), self.marginal, self.marginal_weight)

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
        flat = leaf.unsqueeze(-1).flatten(2)
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

    def is_outer(self, leaf: Tensor) -> Tensor:
        """Return which leaves (batch, count) are outer ones."""
        return (leaf == 0) | (leaf == self.last)

    def outer_distance(self, x: Tensor, leaf: Tensor) -> Tensor:
        """Return how many integers lie between `x` and the bounded leaves.

        Args:
            x: Integers in outer leaves, (batch, count).
            leaf: These leaves, likewise.

        Returns:
            (batch, count), 0 for the integer beside them.
        """
        inner, outer = self._outer_edges()
        return torch.where(leaf == 0, inner - 1 - x, x - outer)

    def from_outer_distance(self, distance: Tensor, leaf: Tensor) -> Tensor:
        """Return the integers in outer leaves at a distance; see `outer_distance`."""
        inner, outer = self._outer_edges()
        return torch.where(leaf == 0, inner - 1 - distance, outer + distance)

    def _outer_edges(self) -> tuple[Tensor, Tensor]:
        """Return the first and the last edge between leaves, (count,) each."""
        outer = self.boundaries.gather(-1, self.last.unsqueeze(-1)).squeeze(-1)
        return self.boundaries[:, 1], outer

    def outer_tails(self, leaf: Tensor) -> ParetoTails:
        """Return the distributions of the distances in outer leaves (batch, count)."""
        is_low = leaf == 0
        return ParetoTails(
            torch.where(is_low, self.tail_scale[:, 0], self.tail_scale[:, 1]),
            torch.where(is_low, self.tail_shape[:, 0], self.tail_shape[:, 1]),
        )


def _set_frequencies(
    tree: DecimalIntervals, row: int, variable: Variable, smooth: Tensor
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
