"""The contract of a family of models, orderings, and the plain ancestral sampler."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ar_models import recording
from ar_models.conditionals import EXACT, Conditionals, Tempering
from ar_models.kept import Kept
from ar_models.variables import Variable, check

SAMPLE_ROWS = 4096
"""Rows that are drawn together; the stream of noise depends on it."""

Ordering = Literal["natural", "random"] | Sequence[Sequence[int]]
"""Natural, random, or the sequence of groups of each ordering."""


class AutoregressiveModel(nn.Module):
    r"""A density over vectors of `dim` variables, taken one variable at a time.

    .. math:: p(x) = \prod_i p(x_i \mid x_1, \dots, x_{i-1})

    A family gives `conditionals`, `features` and `config`; the rest follows from them.
    With several orderings the density is the mean of theirs. A family that can draw
    faster than one pass per variable overrides `draw`, with equal results.

    Args:
        variables: What each column of `x` is.
        orderings: How many orderings.
        ordering: "natural": groups as they come (one ordering only). "random":
            permutations from `seed`. Or the sequence of groups of every ordering. The
            variables of a group stay together and keep their order.
        seed: Of random orderings.

    Attributes:
        variables: The same, as a tuple.
        dim: Their number.
        orderings: Number of orderings.
        turn: Which ordering the next training step takes, modulo their number. Every
            `log_prob` in train mode advances it; set it to the step when resuming.
        order_agnostic: Whether any variables may be known: then there is `conditional`,
            and `sample` takes given variables wherever they stand in an ordering. Of
            each group the known variables must come first.
        is_bound: Whether `log_prob` is only a lower bound. Then `conditionals` are what
            is expected in the light of the whole row, and do not add up to it.
        noise_dim: Pairs of uniform numbers that `draw` takes per row.
        recordable: Whether `draw` of nothing given does the same operations whatever
            their results, so that a GPU can repeat a recording of them.
    """

    order_agnostic: bool = False
    is_bound: bool = False
    recordable: bool = True

    ordering_table: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        orderings: int = 1,
        ordering: Ordering = "natural",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check(variables)
        self.variables = tuple(variables)
        self.dim = len(self.variables)
        self.noise_dim = self.dim
        self.orderings = orderings
        self.turn = 0
        table = torch.tensor(make_orderings(variables, orderings, ordering, seed))
        self.register_buffer("ordering_table", table)
        self._sequences: Kept[list[int]] = Kept()
        self._recordings = recording.Recordings()

    def ordering(self, which: int = 0) -> Tensor:
        """The variables in the order in which ordering `which` takes them, (dim,)."""
        return self.ordering_table[which]

    def sequence(self, which: int = 0) -> list[int]:
        """The same as a list; it is kept, since to read it waits for the device."""
        table = self.ordering_table
        return self._sequences.get(which, table, lambda: table[which].tolist())

    def conditionals(self, x: Tensor, which: int = 0) -> Conditionals:
        """The conditional of every variable given those before it.

        Args:
            x: Observations (batch, dim), NaN where absent.
            which: The ordering that says what is before.

        Returns:
            Conditionals of which that of variable i ignores x at i and all after it.
        """
        raise NotImplementedError

    def conditional(self, x: Tensor, known: Tensor) -> Conditionals:
        """The conditionals of unknown variables given the known ones, in one pass.

        Only of order-agnostic families, and only of variables that may come next: whose
        predecessors in their group are all known. What it says of others is arbitrary.

        Args:
            x: Observations (batch, dim), NaN where absent.
            known: Which variables are looked at, bool (batch, dim).

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
        """The conditionals of known variables, with all others marginalised.

        Only of order-agnostic families. What it says of unknown variables is arbitrary.

        Args:
            x: Observations (batch, dim), NaN where absent.
            known: Which variables count, bool (batch, dim); of a group the first ones.
            which: The ordering in which the known variables are taken.

        Raises:
            TypeError: The family is not order-agnostic.
        """
        raise TypeError(
            f"{type(self).__name__} cannot leave out columns of a row; an "
            "order-agnostic model is needed"
        )

    def marginal_log_prob(self, x: Tensor, known: Tensor) -> Tensor:
        """The log-probability of the known variables alone, in nats: (batch,).

        The others are marginalised: in each ordering they come last. In eval mode the
        mean over orderings, as for `log_prob`.

        Args:
            x: Observations (batch, dim), NaN where absent.
            known: Which variables count, bool (batch, dim); of a group the first ones.

        Raises:
            TypeError: The family is not order-agnostic.
        """
        rows = []
        for which in range(self.orderings):
            before = torch.zeros_like(known)
            total = torch.zeros(len(x), device=x.device)
            for i in self.sequence(which):
                own = self.conditional(x, before).log_prob(x)[:, i]
                total = total + own.masked_fill(~known[:, i], 0)
                before[:, i] = known[:, i]
            rows.append(total)
        return torch.stack(rows).logsumexp(0) - math.log(self.orderings)

    def features(self, x: Tensor) -> Tensor:
        """What the model makes of a row, for other models: (batch, n)."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """JSON-able arguments; `MODELS[family](variables, **config)` rebuilds it."""
        raise NotImplementedError

    def variable_log_prob(self, x: Tensor) -> Tensor:
        """Each variable's share of `log_prob`, in nats: (batch, dim)."""
        if self.training or self.orderings == 1:
            return self.conditionals(x, self._take_turn()).log_prob(x)
        return mean_of_orderings(
            torch.stack(
                [self.conditionals(x, k).log_prob(x) for k in range(self.orderings)]
            )
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-likelihood of each row, in nats: (batch, dim) -> (batch,).

        In eval mode that of the mean over orderings. In train mode of one ordering,
        in turn.
        """
        if self.training or self.orderings == 1:
            return self.conditionals(x, self._take_turn()).log_prob(x).sum(-1)
        rows = [
            self.conditionals(x, k).log_prob(x).sum(-1) for k in range(self.orderings)
        ]
        return torch.stack(rows).logsumexp(0) - math.log(self.orderings)

    def quick_log_prob(self, x: Tensor) -> Tensor:
        """`log_prob`, or an estimate where that takes far longer than a step.

        The mean over rows is what counts: it serves to compare the weights of one model
        on the same batches, for which it is always the same.
        """
        return self.log_prob(x)

    def forward(self, x: Tensor) -> Tensor:
        # Training calls the module itself: DistributedDataParallel averages gradients
        # for `forward` only, and has no `log_prob`.
        return self.log_prob(x)

    def _take_turn(self) -> int:
        if not self.training:
            return 0
        which = self.turn % self.orderings
        self.turn += 1
        return which

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        given: Tensor | None = None,
        generator: torch.Generator | None = None,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """Draws `count` vectors, (count, dim), NaN where a variable is absent.

        Rows take the orderings in turn. Where something is given, they draw one of
        those that fit it, each as likely as it finds what is given: so the rows follow
        the conditional of the mean over these. The model is to be in eval mode.

        Args:
            count: Number of rows.
            given: Known values (count, dim), NaN where free. In each row they must
                come first in an ordering, unless the family is order-agnostic.
            generator: On the CPU; equal generators give equal samples.
            tempering: Of every conditional.

        Raises:
            ValueError: The given variables do not come first.
        """
        device = self.ordering_table.device
        dtype = next(self.parameters()).dtype
        drawn = torch.empty(count, self.dim, dtype=dtype, device=device)
        for start in range(0, count, SAMPLE_ROWS):
            rows = slice(start, min(start + SAMPLE_ROWS, count))
            shape = rows.stop - start, self.dim
            noise = torch.rand(shape[0], self.noise_dim, 2, generator=generator)
            noise = noise.to(device, dtype)
            if given is None:
                which = torch.arange(start, rows.stop) % self.orderings
            else:
                known = given[rows].to(device, dtype)
                which = choose_orderings(self, given[rows], generator, start)
            for k in which.unique().tolist():
                mine = (which == k).nonzero().squeeze(-1).to(device)
                if given is None:
                    own = self.draw_free(noise[mine], k, tempering)
                else:
                    own = self.draw(noise[mine], known[mine], k, tempering)
                drawn[rows][mine] = own
        return drawn

    @torch.no_grad()
    def draw_free(
        self, noise: Tensor, which: int = 0, tempering: Tempering = EXACT
    ) -> Tensor:
        """`draw` of nothing given; a GPU repeats it from a recording."""
        if not self.recordable:
            return self.draw(noise, None, which, tempering)
        device = noise.device.type
        rough = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device)

        def draw(noise: Tensor) -> Tensor:
            # A recording must not read what an autocast keeps, for that ends with it.
            kept = device not in recording.RECORDERS
            with torch.autocast(device, dtype, enabled=rough, cache_enabled=kept):
                return self.draw(noise, None, which, tempering)

        settings = which, tempering, dtype if rough else None
        return self._recordings.draw(self, noise, settings, draw)

    def draw(
        self,
        noise: Tensor,
        given: Tensor | None = None,
        which: int = 0,
        tempering: Tempering = EXACT,
    ) -> Tensor:
        """Samples as a pure function of the model and uniform noise.

        Args:
            noise: Uniform numbers (batch, noise_dim, 2).
            given: Known values (batch, dim), NaN where free; None: nothing.
            which: The ordering. Order-agnostic families take given variables before it.
            tempering: Of every conditional.

        Returns:
            (batch, dim), NaN where a variable is absent.
        """
        return draw_plainly(self, noise, given, which, tempering)


def mean_of_orderings(each: Tensor) -> Tensor:
    """The variables' shares of the log-probability of a mean over orderings, in nats.

    The mean of their shares, weighted by how much each ordering counts for the row; the
    small rest is divided in proportion to the shares' sizes.

    Args:
        each: Log-probabilities in each ordering, (orderings, batch, dim).

    Returns:
        (batch, dim), which adds up to the log-probability of the row.
    """
    if len(each) == 1:
        return each[0]
    rows = each.sum(-1)
    mean = (rows.softmax(0).unsqueeze(-1) * each).sum(0)
    total = rows.logsumexp(0) - math.log(len(each))
    size = mean.abs()
    share = size / size.sum(-1, keepdim=True).clamp(min=1e-30)
    return mean + (total - mean.sum(-1)).unsqueeze(-1) * share


@torch.no_grad()
def draw_plainly(
    model: AutoregressiveModel,
    noise: Tensor,
    given: Tensor | None = None,
    which: int = 0,
    tempering: Tempering = EXACT,
) -> Tensor:
    """`AutoregressiveModel.draw` by one full pass per variable."""
    x = noise.new_full((len(noise), model.dim), torch.nan)
    for i in model.sequence(which):
        free = model.conditionals(x, which).sample(noise, tempering)[:, i]
        known = None if given is None else given[:, i]
        x[:, i] = settle(model.variables[i], free, known, x)
    return x


def columns_given(given: Tensor | None, dim: int) -> list[Tensor | None]:
    """Of each variable its known values (batch,), None where it is free in all rows."""
    if given is None:
        return [None] * dim
    known = (~given.isnan()).any(0).tolist()
    return [given[:, i] if known[i] else None for i in range(dim)]


def settle(
    variable: Variable, drawn: Tensor, given: Tensor | None, x: Tensor
) -> Tensor:
    """A variable's values: given, else drawn; NaN where its parent rules it out.

    Args:
        variable: The variable.
        drawn: Its samples (batch,).
        given: Its known values (batch,), NaN where free. None: free everywhere.
        x: All variables (batch, dim), complete at least up to this one.
    """
    value = drawn if given is None else torch.where(given.isnan(), drawn, given)
    if variable.parent is None:
        return value
    present = variable.present(x[:, variable.parent])
    return value.masked_fill(~present, torch.nan)


def make_orderings(
    variables: Sequence[Variable], orderings: int, ordering: Ordering, seed: int
) -> list[list[int]]:
    """The variables in each ordering: `orderings` permutations of 0 … dim - 1.

    Raises:
        ValueError: The ordering is none of the three forms, or they do not match.
    """
    blocks: dict[int, list[int]] = {}
    for i, variable in enumerate(variables):
        blocks.setdefault(variable.group, []).append(i)
    if orderings < 1:
        raise ValueError(f"orderings must be at least 1, got {orderings}")
    sequences = list(_group_sequences(list(blocks), orderings, ordering, seed))
    return [[i for group in groups for i in blocks[group]] for groups in sequences]


def _group_sequences(
    groups: list[int], orderings: int, ordering: Ordering, seed: int
) -> Iterator[list[int]]:
    if ordering == "natural":
        if orderings > 1:
            raise ValueError(
                f"ordering 'natural' is one ordering, got orderings={orderings}; "
                "use ordering='random' for more"
            )
        yield groups
    elif ordering == "random":
        generator = torch.Generator().manual_seed(seed)
        for _ in range(orderings):
            permutation = torch.randperm(len(groups), generator=generator)
            yield [groups[k] for k in permutation.tolist()]
    elif isinstance(ordering, str):
        raise ValueError(
            "ordering must be 'natural', 'random' or sequences of groups, "
            f"got {ordering!r}"
        )
    else:
        if len(ordering) != orderings:
            raise ValueError(
                f"{orderings} orderings are needed, got {len(ordering)} sequences"
            )
        for sequence in ordering:
            if sorted(sequence) != sorted(groups):
                raise ValueError(
                    f"an ordering must name each group of {sorted(groups)} once, "
                    f"got {list(sequence)}"
                )
            yield list(sequence)


def choose_orderings(
    model: AutoregressiveModel,
    given: Tensor,
    generator: torch.Generator | None = None,
    start: int = 0,
) -> Tensor:
    """The ordering in which each row is to be drawn, (count,), on the CPU.

    Args:
        model: The model.
        given: Known values (count, dim), NaN where free.
        generator: Draws among several orderings.
        start: Number of the first row.

    Raises:
        ValueError: In some row, given variables follow free ones in every ordering, or,
            if that does not matter, in their group.
    """
    given = given.cpu()
    known = ~given.isnan()
    free = ~known
    for i, variable in enumerate(model.variables):
        if variable.parent is not None:
            parent = given[:, variable.parent]
            ruled_out = known[:, variable.parent] & ~variable.present(parent)
            free[:, i] &= ~ruled_out
            known[:, i] &= ~ruled_out
    fitting = torch.ones(len(given), model.orderings, dtype=torch.bool)
    if model.order_agnostic:
        _check_chains(model.variables, known, free)
    else:
        for k in range(model.orderings):
            order = model.ordering(k).cpu()
            after_free = free[:, order].cumsum(-1) > 0
            fitting[:, k] = ~(after_free & known[:, order]).any(-1)
    if not bool(fitting.any(1).all()):
        row = int((~fitting.any(1)).nonzero()[0, 0])
        names = [model.variables[i].name for i in known[row].nonzero()[:, 0].tolist()]
        first = [model.variables[i].name for i in model.ordering().tolist()]
        raise ValueError(
            f"given row {start + row} fixes {', '.join(names)}, which come first in "
            f"none of the model's {model.orderings} orderings (the first takes "
            f"{', '.join(first[: len(names) + 1])}, …); give what comes before too, or "
            "train with an ordering that starts with these"
        )
    if model.orderings == 1:
        return torch.zeros(len(given), dtype=torch.int64)
    weights = _log_prob_given(model, given, known).masked_fill(~fitting, -torch.inf)
    reached = weights.softmax(-1).cumsum(-1)
    uniform = torch.rand(len(given), 1, generator=generator, dtype=reached.dtype)
    return (reached[:, :-1] <= uniform * reached[:, -1:]).sum(-1)


def _log_prob_given(model: AutoregressiveModel, given: Tensor, known: Tensor) -> Tensor:
    """What each ordering says of known values that come first, (count, orderings)."""
    device, dtype = model.ordering_table.device, next(model.parameters()).dtype
    mask = known.to(device)
    x = given.to(device, dtype).masked_fill(~mask, torch.nan)
    each = [
        model.marginal_conditionals(x, mask, k)
        if model.order_agnostic
        else model.conditionals(x, k)
        for k in range(model.orderings)
    ]
    rows = torch.stack([c.log_prob(x).sum(-1) for c in each], -1)
    return rows.double().cpu()


def _check_chains(variables: Sequence[Variable], known: Tensor, free: Tensor) -> None:
    """Raises ValueError where a known variable follows a free one of its group."""
    free_before: dict[int, Tensor] = {}
    for i, variable in enumerate(variables):
        before = free_before.get(variable.group, torch.zeros_like(free[:, i]))
        wrong = known[:, i] & before
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0, 0])
            raise ValueError(
                f"given row {row} fixes {variable.name}, but not what comes before it "
                "in its column; give that too"
            )
        free_before[variable.group] = before | free[:, i]
