"""The contract of a model family, and sampling one variable at a time."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ar_models.distributions.conditionals import Conditionals
from ar_models.distributions.sampling import EXACT_SAMPLING, SamplingParams
from ar_models.distributions.tensor_cache import TensorCache
from ar_models.families.orderings import (
    check_given_first,
    known_and_free,
    make_orderings,
    mean_of_orderings,
    no_ordering_fits,
    orderings_that_fit,
)
from ar_models.families.settings import FamilySettings, OrderedSettings
from ar_models.layers import cuda_graphs
from ar_models.variables import Variable, apply_given, check_variables

SAMPLE_ROWS = 4096
"""Rows that `sample` draws in one batch. Samples depend on it, as the noise does."""


class AutoregressiveModel(nn.Module):
    r"""A density over vectors of `dim` variables, taken one variable at a time.

    .. math:: p(x) = \prod_i p(x_i \mid x_1, \dots, x_{i-1})

    A family defines `Settings`, `conditionals` and `features`; `log_prob` and `sample`
    follow from them. With several orderings the density is the mean of theirs. A family
    that samples faster than by one pass per variable overrides `draw`, with equal
    results.

    Args:
        variables: Descriptions of the columns of `x`.
        settings: Settings of the family.
        orderings: Permutations of the variables; by default those that the settings
            say, or else one, the order of the variables.

    Attributes:
        variables: Descriptions of the columns of `x`, as a tuple.
        settings: Settings of the family.
        dim: Number of variables.
        orderings: Number of orderings.
        step: Number of the next training step, which trains ordering `step %
            orderings`. Every `log_prob` in train mode advances it; set it when training
            resumes.
        order_agnostic: Whether the model can condition on any set of variables, as long
            as the known variables of each group come first in it.
        is_bound: Whether `log_prob` is only a lower bound. Then `conditionals` depend
            on the whole row, and their log-probabilities do not add up to the bound.
        noise_dim: Pairs of uniform numbers per row that `draw` takes.
        capturable: Whether `draw` without given values runs the same operations
            whatever their results, so that a CUDA graph can capture them.
    """

    Settings: ClassVar[type[FamilySettings]] = FamilySettings

    order_agnostic: bool = False
    is_bound: bool = False
    capturable: bool = True

    settings: FamilySettings
    ordering_table: Tensor  # (orderings, dim)

    def __init__(
        self,
        variables: Sequence[Variable],
        settings: FamilySettings,
        orderings: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        check_variables(variables)
        self.variables = tuple(variables)
        self.settings = settings
        self.dim = len(self.variables)
        self.noise_dim = self.dim
        if orderings is None and isinstance(settings, OrderedSettings):
            orderings = make_orderings(
                variables, settings.ordering, settings.orderings, settings.seed
            )
        table = torch.tensor(orderings or [list(range(self.dim))])
        self.orderings = len(table)
        self.register_buffer("ordering_table", table)
        self.step = 0
        self._ordering_lists: TensorCache[list[int]] = TensorCache()
        self._graphs = cuda_graphs.CudaGraphCache()

    def ordering(self, which: int = 0) -> Tensor:
        """Return the variables in the order of ordering number `which`, (dim,)."""
        return self.ordering_table[which]

    def ordering_list(self, which: int = 0) -> list[int]:
        """Return `ordering(which)` as a list, cached to spare waits for the device."""
        table = self.ordering_table
        return self._ordering_lists.get(which, table, lambda: table[which].tolist())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        """Return the conditional of every variable given those before it.

        Args:
            x: Observations (batch, dim), NaN where absent.
            which: Number of the ordering that says which variables come before.

        Returns:
            Conditionals of all variables; that of variable i ignores `x` at i and at
            all variables after i in the ordering.
        """
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Return an embedding of each row, as input for other models: (batch, n).

        Args:
            x: Observations (batch, dim), NaN where absent.
        """
        raise NotImplementedError

    def conditionals_given(self, x: Tensor, known: Tensor) -> Conditionals:
        """Return the conditionals of unknown variables given the known ones.

        Only for variables whose predecessors in their group are all known; the
        conditionals of all other variables are arbitrary.

        Args:
            x: Observations (batch, dim), NaN where absent.
            known: Which variables to condition on, bool (batch, dim).

        Raises:
            TypeError: The family is not order-agnostic.
        """
        raise TypeError(
            f"{type(self).__name__} conditions only on what comes first in one of its "
            "orderings; an order-agnostic model is needed"
        )

    def marginal_conditionals(
        self, x: Tensor, known: Tensor, which: int = 0
    ) -> Conditionals:
        """Return the conditionals of known variables, with all others marginalised.

        The conditionals of unknown variables are arbitrary.

        Args:
            x: Observations (batch, dim), NaN where absent.
            known: Which variables are known, bool (batch, dim); the first ones of each
                group.
            which: Number of the ordering in which the known variables are taken.

        Raises:
            TypeError: The family is not order-agnostic.
        """
        raise TypeError(
            f"{type(self).__name__} cannot leave out columns of a row; an "
            "order-agnostic model is needed"
        )

    def marginal_log_prob(self, x: Tensor, known: Tensor) -> Tensor:
        """Return the log-probability of the known variables alone, in nats: (batch,).

        In eval mode, it is that of the mean over orderings, as for `log_prob`.

        Args:
            x: Observations (batch, dim), NaN where absent.
            known: Which variables are known, bool (batch, dim); the first ones of each
                group.

        Raises:
            TypeError: The family is not order-agnostic.
        """
        rows = []
        for which in range(self.orderings):
            before = torch.zeros_like(known)
            total = torch.zeros(len(x), device=x.device)
            for i in self.ordering_list(which):
                own = self.conditionals_given(x, before).log_prob(x)[:, i]
                total = total + own.masked_fill(~known[:, i], 0)
                before[:, i] = known[:, i]
            rows.append(total)
        return torch.stack(rows).logsumexp(0) - math.log(self.orderings)

    def config(self) -> dict[str, Any]:
        """Return JSON-able keyword arguments with which `build` rebuilds the model."""
        return self.settings.to_dict()

    def variable_log_prob(self, x: Tensor) -> Tensor:
        """Return each variable's share of `log_prob`, in nats: (batch, dim)."""
        if self.training or self.orderings == 1:
            return self.conditionals(x, self._next_ordering()).log_prob(x)
        return mean_of_orderings(
            torch.stack(
                [self.conditionals(x, k).log_prob(x) for k in range(self.orderings)]
            )
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-likelihood of each row, in nats: (batch, dim) -> (batch,).

        In eval mode, it is that of the mean over orderings; in train mode, that of one
        ordering, which changes from step to step.
        """
        if self.training or self.orderings == 1:
            return self.conditionals(x, self._next_ordering()).log_prob(x).sum(-1)
        rows = [
            self.conditionals(x, k).log_prob(x).sum(-1) for k in range(self.orderings)
        ]
        return torch.stack(rows).logsumexp(0) - math.log(self.orderings)

    def estimate_variable_log_prob(self, x: Tensor) -> Tensor:
        """Return each variable's share of `log_prob`, or of a faster estimate of it.

        Its mean over rows compares the weights of one model on the same batches, for
        which the estimate is always the same.

        Args:
            x: Observations (batch, dim), NaN where absent.

        Returns:
            Shares in nats, (batch, dim), which add up to the estimate.
        """
        return self.variable_log_prob(x)

    def forward(self, x: Tensor, loss_weights: Tensor | None = None) -> Tensor:
        """Return the log-likelihood of each row, in nats: (batch, dim) -> (batch,).

        Training calls the module itself, as DistributedDataParallel averages gradients
        for `forward` only.

        Args:
            x: Observations (batch, dim), NaN where absent.
            loss_weights: Factors (dim,) of the gradients of the variables' shares; the
                log-likelihood is the same. By default, all are 1.
        """
        if loss_weights is None:
            return self.log_prob(x)
        shares = self.variable_log_prob(x)
        weighted = (shares * loss_weights).sum(-1)
        return weighted + (shares.sum(-1) - weighted).detach()

    def _next_ordering(self) -> int:
        if not self.training:
            return 0
        which = self.step % self.orderings
        self.step += 1
        return which

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        given: Tensor | None = None,
        generator: torch.Generator | None = None,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Sample `count` rows from the model, which must be in eval mode.

        Successive rows take successive orderings. A row with given values takes a
        random one of the orderings in which they come first, weighted by the
        probability of the given values; so the rows follow the conditional
        distribution of the mean over these orderings.

        Args:
            count: Number of rows.
            given: Given values (count, dim), NaN where free. In each row they must
                come first in an ordering, unless the family is order-agnostic.
            generator: CPU generator; equal generators give equal samples.
            sampling: Temperature and nucleus of every conditional.

        Returns:
            Samples (count, dim), NaN where a variable is absent.

        Raises:
            ValueError: The given variables do not come first.
        """
        device = self.ordering_table.device
        dtype = next(self.parameters()).dtype
        samples = torch.empty(count, self.dim, dtype=dtype, device=device)
        for start in range(0, count, SAMPLE_ROWS):
            rows = slice(start, min(start + SAMPLE_ROWS, count))
            shape = rows.stop - start, self.dim
            noise = torch.rand(shape[0], self.noise_dim, 2, generator=generator)
            noise = noise.to(device, dtype)
            if given is None:
                which = torch.arange(start, rows.stop) % self.orderings
            else:
                known = given[rows].to(device, dtype)
                which = self.choose_orderings(given[rows], generator, start)
            for k in which.unique().tolist():
                own = (which == k).nonzero().squeeze(-1).to(device)
                if given is None:
                    drawn = self.draw_unconditional(noise[own], k, sampling)
                else:
                    drawn = self.draw(noise[own], known[own], k, sampling)
                samples[rows][own] = drawn
        return samples

    @torch.no_grad()
    def draw_unconditional(
        self, noise: Tensor, which: int = 0, sampling: SamplingParams = EXACT_SAMPLING
    ) -> Tensor:
        """Call `draw` without given values, on a GPU by replaying a CUDA graph.

        Args:
            noise: Uniform numbers (batch, noise_dim, 2).
            which: Number of the ordering.
            sampling: Temperature and nucleus of every conditional.
        """
        if not self.capturable:
            return self.draw(noise, None, which, sampling)
        device = noise.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device)

        def draw(noise: Tensor) -> Tensor:
            # A graph must not read the casts that autocast caches, which end with it.
            cached = device not in cuda_graphs.CAPTURERS
            with torch.autocast(device, dtype, enabled=autocast, cache_enabled=cached):
                return self.draw(noise, None, which, sampling)

        settings = which, sampling, dtype if autocast else None
        return self._graphs.run(self, noise, settings, draw)

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        sampling: SamplingParams = EXACT_SAMPLING,
    ) -> Tensor:
        """Map uniform noise to samples, as a pure function of the model.

        Args:
            noise: Uniform numbers (batch, noise_dim, 2).
            given: Given values (batch, dim), NaN where free; None if nothing is given.
            which: Number of the ordering. Order-agnostic families take the given
                variables before all others.
            sampling: Temperature and nucleus of every conditional.

        Returns:
            Samples (batch, dim), NaN where a variable is absent.
        """
        return ancestral_sample(self, noise, given, which, sampling)

    def choose_orderings(
        self,
        given: Tensor,
        generator: torch.Generator | None = None,
        first_row: int = 0,
    ) -> Tensor:
        """Choose the ordering in which to sample each row that has given values.

        Args:
            given: Given values (count, dim), NaN where free.
            generator: CPU generator that chooses among several orderings.
            first_row: Number of the first row, for messages.

        Returns:
            Numbers of orderings (count,), on the CPU.

        Raises:
            ValueError: In some row, given variables follow free ones in every ordering
                or, if the model is order-agnostic, in their group.
        """
        given, table = given.cpu(), self.ordering_table.cpu()
        known, free = known_and_free(self.variables, given)
        if self.order_agnostic:
            check_given_first(self.variables, known, free, first_row)
            fitting = torch.ones(len(given), self.orderings, dtype=torch.bool)
        else:
            fitting = orderings_that_fit(table, known, free)
        unfit = ~fitting.any(1)
        if bool(unfit.any()):
            row = int(unfit.nonzero()[0, 0])
            raise no_ordering_fits(self.variables, table, known[row], first_row + row)
        if self.orderings == 1:
            return torch.zeros(len(given), dtype=torch.int64)
        weights = self._log_prob_of_given(given, known)
        reached = weights.masked_fill(~fitting, -torch.inf).softmax(-1).cumsum(-1)
        uniform = torch.rand(len(given), 1, generator=generator, dtype=reached.dtype)
        return (reached[:, :-1] <= uniform * reached[:, -1:]).sum(-1)

    def _log_prob_of_given(self, given: Tensor, known: Tensor) -> Tensor:
        """Return the log-probability of given values in each ordering, on the CPU.

        Args:
            given: Given values (count, dim), NaN where free.
            known: Which of them count, bool (count, dim).

        Returns:
            Log-probabilities in nats, (count, orderings), in double precision.
        """
        device, dtype = self.ordering_table.device, next(self.parameters()).dtype
        mask = known.to(device)
        x = given.to(device, dtype).masked_fill(~mask, torch.nan)
        each = [
            self.marginal_conditionals(x, mask, k)
            if self.order_agnostic
            else self.conditionals(x, k)
            for k in range(self.orderings)
        ]
        rows = torch.stack([c.log_prob(x).sum(-1) for c in each], -1)
        return rows.double().cpu()


@torch.no_grad()
def ancestral_sample(
    model: AutoregressiveModel,
    noise: Tensor,
    given: Tensor | None = None,
    which: int = 0,
    sampling: SamplingParams = EXACT_SAMPLING,
) -> Tensor:
    """Map uniform noise to samples by one full forward pass per variable.

    Args:
        model: The model.
        noise: Uniform numbers (batch, noise_dim, 2).
        given: Given values (batch, dim), NaN where free; None if nothing is given.
        which: Number of the ordering.
        sampling: Temperature and nucleus of every conditional.

    Returns:
        Samples (batch, dim), NaN where a variable is absent.
    """
    x = noise.new_full((len(noise), model.dim), torch.nan)
    for i in model.ordering_list(which):
        free = model.conditionals(x, which).sample(noise, sampling)[:, i]
        known = None if given is None else given[:, i]
        x[:, i] = apply_given(model.variables[i], free, known, x)
    return x


def known_columns(given: Tensor | None, dim: int) -> list[Tensor | None]:
    """Return the given values of each variable, or None where it is free in all rows.

    Args:
        given: Given values (batch, dim), NaN where free; None if nothing is given.
        dim: Number of variables.

    Returns:
        One tensor (batch,) or None for each variable.
    """
    if given is None:
        return [None] * dim
    known = (~given.isnan()).any(0).tolist()
    return [given[:, i] if known[i] else None for i in range(dim)]
