"""Nested distributions of integers over decimal intervals, for uneven numbers."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ar_models.distributions.base import GroupDistribution
from ar_models.distributions.decimal_intervals import (
    MIN_LEAF_MASS,
    DecimalIntervals,
    Step,
    Unpacked,
)
from ar_models.distributions.mixtures import MAX_LOG_SCALE, UNIFORM_MARGIN
from ar_models.distributions.sampling import (
    EXACT_SAMPLING,
    SamplingParams,
    sample_categorical,
    split_uniform,
)
from ar_models.kernels import interval_paths, interval_trees
from ar_models.kernels.compiled import run_kernel, use_kernel
from ar_models.kernels.interval_leaves import leaf_log_probs
from ar_models.variables import MAX_INTEGER

ENTROPY_PATHS = 4
"""Number of paths down the tree over which the entropy of digits is averaged."""

GOLDEN_RATIO = 0.6180339887498949
"""Multiples of this, modulo 1, are spread evenly: they choose the digits of paths."""

MAX_BLOCK_EDGES = 2**17
"""Approximate number of edges in components of a block of rows that caches hold."""


class IntervalTree(DecimalIntervals):
    """Hierarchical softmax over decimal intervals on top of a mixture of logistics.

    The integers are divided into leaves: intervals whose width is a power of ten, and
    two outer ones without end. Below a bounded leaf the further digits follow, ten
    children per place. The logit of a leaf or a digit is the log of the probability
    that the mixture gives to its interval, plus a free logit: with free logits of 0 the
    distribution is smooth, with others it has heaps, gaps and preferred last digits.
    Within an outer leaf the distances from its edge have a generalized Pareto
    distribution, which does not depend on the other variables.

    The parameters of a variable are the free logits of its leaves and, by place, of its
    digits, followed by those of the mixture, which has no atoms.

    Reference:
        Morin, Bengio, Hierarchical probabilistic neural network language model, 2005
        (a softmax in the form of a tree).
    """

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        if torch.compiler.is_exporting():
            return self, parameters
        # Rows of independent columns share their parameters.
        shared = len(parameters) > 1 and parameters.stride(0) == 0
        log_probs = self._leaves(parameters[:1] if shared else parameters)
        log_probs = log_probs.expand(len(parameters), -1, -1)
        others = parameters[..., self.levels.shape[1] :]
        prepared = PreparedTree(self.width, self._buffers)  # type: ignore[arg-type] # none is None
        return prepared, torch.cat([log_probs, others], -1)

    def _leaves(self, parameters: Tensor) -> Tensor:
        """Compute log-probabilities of leaves, (batch, count, leaves)."""
        if use_kernel(parameters):
            shape = (*parameters.shape[:2], self.levels.shape[1])
            tree = self._kernel_constants(), self.boundaries, self.possible, self.places
            own = run_kernel(leaf_log_probs, parameters, *tree, shape=shape)
            return self.mix_leaves(own)
        blocks = self._blocks(parameters)
        return torch.cat([self.unpack(block).leaves for block in blocks])

    def _kernel_constants(self) -> Tensor:
        """Return what kernels call constants, (count, 12)."""
        maximum, least = (
            torch.full_like(self.scale, value)
            for value in (MAX_LOG_SCALE, MIN_LEAF_MASS)
        )
        constants = self.location, self.scale, *self.bounds(), self.min_log_scale
        tails = *self.tail_scale.unbind(-1), *self.tail_shape.unbind(-1)
        return torch.stack([*constants, maximum, self.last.float(), least, *tails], -1)

    def _blocks(self, parameters: Tensor) -> Sequence[Tensor]:
        """Divide rows into blocks that a CPU's caches hold."""
        rows = MAX_BLOCK_EDGES // (self.levels.numel() * self.components)
        whole = parameters.requires_grad or parameters.device.type != "cpu"
        size = max(1, len(parameters) if whole else rows)
        return list(parameters.split(size))

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        unpacked = self.unpack(parameters)
        leaf = self.leaf_of(x)
        total = unpacked.leaves.gather(-1, leaf.unsqueeze(-1)).squeeze(-1)
        for step in self.path(unpacked, x, leaf):
            total = total + step.chosen()
        outer = torch.where(self.is_outer(leaf), self._log_prob_in_outer(x, leaf), 0.0)
        return total + outer

    def _log_prob_in_outer(self, x: Tensor, leaf: Tensor) -> Tensor:
        """Compute log-probabilities of integers within their outer leaves."""
        distance, tails = self.outer_distance(x, leaf), self.outer_tails(leaf)
        at_bound = (x <= self.lower) | (x >= self.upper)
        beyond = tails.log_survival(distance)
        return torch.where(at_bound, beyond, tails.log_prob(distance))

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
        distance, tails = self.outer_distance(x, leaf), self.outer_tails(leaf)
        outward = (leaf == 0) != above
        outer = prefix + torch.where(
            outward, tails.log_survival(distance + 1), tails.log_below(distance)
        )
        terms.append(outer.masked_fill(~self.is_outer(leaf), -torch.inf))
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
        value, leaf, uniform = self.descend(parameters, noise, sampling)
        outer = self._outer_at(leaf)
        if outer is None:
            return value
        own = self._outer_quantile(leaf[outer], uniform[outer], sampling)
        value[outer] = torch.where(self.is_outer(leaf[outer]), own, value[outer])
        return value

    def _outer_at(self, leaf: Tensor) -> Tensor | slice | None:
        """Return which rows have outer leaves (batch, count); None if there is none.

        On an accelerator these are all rows, as it would have to be waited for.
        """
        if leaf.device.type != "cpu":
            return slice(None)
        rows = self.is_outer(leaf).any(-1).nonzero().squeeze(-1)
        return rows if len(rows) else None

    def descend(
        self, parameters: Tensor, noise: Tensor, sampling: SamplingParams
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose leaves and digits by the inverse CDF.

        Args:
            parameters: (batch, count, width).
            noise: Uniform numbers, one for the leaf and one for the digits, or one for
                all, (batch, count, 1 or 2).
            sampling: Temperature and top-p.

        Returns:
            Integers, where the leaf is not an outer one, leaves, and numbers from
            [0, 1] that are left of the noise, (batch, count) each.
        """
        unpacked = self.unpack(parameters)
        shares = sampling.probabilities(unpacked.leaves)
        leaf, uniform = split_uniform(shares, noise[..., 0])
        leaf = torch.minimum(leaf, self._last_possible())
        if noise.shape[-1] > 1:
            uniform = noise[..., 1]
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
        return value, leaf, uniform

    def _last_possible(self) -> Tensor:
        """Return the last leaf with possible values of each variable, (count,)."""
        number = torch.arange(self.possible.shape[1], device=self.possible.device)
        return (self.possible * number).amax(-1)

    def quantile(self, parameters: Tensor, q: Tensor) -> Tensor:
        return self.sample(parameters, q.unsqueeze(-1))

    def _outer_quantile(
        self, leaf: Tensor, share: Tensor, sampling: SamplingParams
    ) -> Tensor:
        """Return quantiles within outer leaves, (batch, count)."""
        is_low = leaf == 0
        share = sampling.shrink_uniform(share).clamp(UNIFORM_MARGIN, 1 - UNIFORM_MARGIN)
        survival = torch.where(is_low, share, 1 - share)
        distance = self.outer_tails(leaf).quantile(survival) * sampling.temperature
        distance = torch.where(is_low, distance.floor(), distance.ceil() - 1)
        value = self.from_outer_distance(distance.clamp(min=0), leaf)
        value = torch.maximum(torch.minimum(value, self.upper), self.lower)
        return value.clamp(-MAX_INTEGER, MAX_INTEGER)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Add the entropies of the leaf, the digits below and the outer leaves."""
        leaves = self.unpack(parameters).leaves
        last = self.last.expand(len(leaves), -1).unsqueeze(-1)
        outer = torch.cat([leaves[..., :1], leaves.gather(-1, last)], -1).exp()
        return self.inner_entropy(parameters) + (outer * self.tail_entropy).sum(-1)

    def inner_entropy(self, parameters: Tensor) -> Tensor:
        """Compute the entropies of the leaf and of the digits below it.

        Those of the digits are means along evenly spread paths. Paths start at leaves
        in proportion to their probability times their number of places, as the entropy
        per place differs little between leaves.
        """
        blocks = self._blocks(parameters)
        return torch.cat([self._inner_entropy_of_rows(block) for block in blocks])

    def _inner_entropy_of_rows(self, parameters: Tensor) -> Tensor:
        unpacked = self.unpack(parameters)
        shares = unpacked.leaves.exp()
        entropy: Tensor = torch.special.entr(shares).sum(-1)
        places = self.places.shape[1]
        if not places:
            return entropy
        positions = path_positions(places).to(shares)
        weights = (shares * self.levels).cumsum(-1)
        total = weights[..., -1:]
        reached = weights.unsqueeze(-2) <= (total * positions[:, -1]).unsqueeze(-1)
        leaf = reached.sum(-1).clamp(max=shares.shape[-1] - 1)
        start = self.of_leaf(self.boundaries[:, :-1].to(shares.dtype), leaf)
        level = self.of_leaf(self.levels, leaf)
        each = torch.zeros_like(start)
        for place in reversed(range(places)):
            active = place < level
            log_probs = self.digit_log_probs(unpacked, start, leaf, place)
            probabilities = log_probs.exp()
            own = -(probabilities * log_probs).sum(-1)
            each = each + torch.where(active, own, 0.0)
            at = positions[:, place].expand_as(start)
            digit = sample_categorical(probabilities, at)
            start = torch.where(active, start + digit * 10.0**place, start)
        return entropy + (each / level.clamp(min=1)).mean(-1) * total.squeeze(-1)


class PreparedTree(IntervalTree):
    """Interval trees whose first parameters are log-probabilities of the leaves."""

    def prepare(self, parameters: Tensor) -> tuple[GroupDistribution, Tensor]:
        return self, parameters

    def leaf_log_probs(
        self, free: Tensor, log_weight: Tensor, location: Tensor, log_scale: Tensor
    ) -> Tensor:
        return free

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        if not use_kernel(parameters):
            return super().log_prob(parameters, x)
        kernel = interval_trees.tree_log_probs
        return self._run(kernel, parameters, x.unsqueeze(-1), 1)[0]

    def log_tail_probs(
        self, parameters: Tensor, x: Tensor, log_prob: Tensor | None = None
    ) -> Tensor:
        if not use_kernel(parameters):
            return super().log_tail_probs(parameters, x, log_prob)
        kernel = interval_trees.tree_log_probs
        equal, below, above = self._run(kernel, parameters, x.unsqueeze(-1), 3)
        return torch.stack([below, equal, above], -1)

    def descend(
        self, parameters: Tensor, noise: Tensor, sampling: SamplingParams
    ) -> tuple[Tensor, Tensor, Tensor]:
        if sampling != EXACT_SAMPLING or not use_kernel(parameters):
            return super().descend(parameters, noise, sampling)
        value, leaf, left = self._run(interval_paths.descend, parameters, noise, 3)
        return value, leaf.long(), left

    def inner_entropy(self, parameters: Tensor) -> Tensor:
        if not use_kernel(parameters):
            return super().inner_entropy(parameters)
        positions = path_positions(self.places.shape[1])
        return self._run(interval_paths.inner_entropy, parameters, positions, 1)[0]

    def _run(
        self,
        kernel: Callable[..., None],
        parameters: Tensor,
        given: Tensor,
        results: int,
    ) -> Tensor:
        """Run a kernel of `ar_models.kernels.interval_trees`."""
        tree = self.boundaries, self.levels, self.places, self.contexts
        shape = (results, *parameters.shape[:2])
        constants = self._kernel_constants()
        return run_kernel(kernel, parameters, given, constants, *tree, shape=shape)


def path_positions(places: int) -> Tensor:
    """Return the quantiles at which paths choose digits and, last, their leaf.

    Args:
        places: Number of places.

    Returns:
        (paths, places + 1), float32.
    """
    first = (torch.arange(ENTROPY_PATHS) + 0.5) / ENTROPY_PATHS
    number = torch.arange(1, places + 2) * (torch.arange(places + 1) < places)
    return (first.unsqueeze(-1) + number * GOLDEN_RATIO).remainder(1)
