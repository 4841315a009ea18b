"""Probabilities of predicates about rows, by enumeration or progressive sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ar_models.density.predicates import Predicate, parse
from ar_models.density.progressive_sampling import ProgressiveSampler
from ar_models.density.random_streams import stream_seed
from ar_models.density.table_density import TableDensity
from ar_models.scoring.combinations import combinations
from ar_models.tables.code_column import CodeColumn

SIGMAS = 2.13
"""Standard errors between an estimate and the ends of its interval: 95 % with as many
groups."""

MIN_DIRECT = 0.05
"""Minimum probability that is estimated by the share of draws given the condition."""

MAX_COMBINATIONS = 1 << 14
"""Maximum number of combinations of codes that are all counted."""

DRAWS = 4096
"""Default number of draws per question."""


@dataclass(frozen=True)
class Answer:
    """The probability of a predicate.

    Attributes:
        probability: The probability, or its estimate.
        low: Lower end of the interval that has it with 95 %.
        high: Upper end.
        exact: Whether all combinations were counted instead of draws.
        effective: Smallest effective number of draws in any step; None if exact.
    """

    probability: float
    low: float
    high: float
    exact: bool
    effective: float | None


class Questions:
    """Answers questions about the rows of one density.

    Args:
        density: The density.
        draws: Approximate number of draws per question.

    Raises:
        ValueError: The density of the family is only a bound.
    """

    def __init__(self, density: TableDensity, draws: int = DRAWS) -> None:
        self.sampler = ProgressiveSampler(density, draws)
        self.encoder, self.model = density.encoder, density.model

    @torch.inference_mode()
    def ask(self, predicate: str, given: str = "", *, seed: int = 0) -> Answer:
        """Return the probability of a predicate, given another one.

        Args:
            predicate: The predicate, see `ar_models.density.predicates`.
            given: What is known of the row; by default nothing.
            seed: Random seed.

        Raises:
            ValueError: A predicate cannot be read, or `given` is never true.
        """
        asked, known = (parse(text, self.sampler.schema) for text in (predicate, given))
        exact = self._count(known, asked)
        if exact is not None:
            if not exact[0]:
                raise _impossible(given)
            share = min(exact[1] / exact[0], 1.0)
            return Answer(share, share, share, True, None)
        generator = torch.Generator().manual_seed(stream_seed(seed, 0))
        first = self.sampler.sample(known, asked, generator, len(known))
        if not first.conditions.any():
            raise _impossible(given)
        direct = self._answer(first.both, first.conditions, first.effective)
        if direct.probability >= MIN_DIRECT:
            return direct
        second = self.sampler.sample([*known, *asked], [], generator, len(known))
        effective = min(first.effective, second.effective)
        return self._answer(
            second.conditions, first.conditions, effective, independent=True
        )

    def _answer(
        self,
        above: NDArray[np.float64],
        below: NDArray[np.float64],
        effective: float,
        *,
        independent: bool = False,
    ) -> Answer:
        """Return a ratio of means over groups, with its interval.

        Args:
            above: Estimates of the numerator, (groups,).
            below: Estimates of the denominator, (groups,).
            effective: Effective number of draws.
            independent: Whether they come from different draws.
        """
        ratio = min(above.mean() / below.mean(), 1.0)
        unseen = 3 / max(effective, 3.0)  # 95 % if no draw differs
        if ratio <= 0:
            return Answer(0.0, 0.0, unseen, False, effective)
        rest = above / below.mean() - ratio * below / below.mean()
        variance = rest.var(ddof=1)
        if independent:
            variance = ratio**2 * sum(
                (each / each.mean()).var(ddof=1) for each in (above, below)
            )
        error = math.sqrt(variance / len(above))
        if ratio >= 1:
            return Answer(1.0, min(1 - unseen, 1 - error), 1.0, False, effective)
        step = SIGMAS * error / (ratio * (1 - ratio))
        odds = math.log(ratio / (1 - ratio))
        low, high = (1 / (1 + math.exp(-x)) for x in (odds - step, odds + step))
        return Answer(ratio, low, high, False, effective)

    def _count(
        self, known: Sequence[Predicate], asked: Sequence[Predicate]
    ) -> tuple[float, float] | None:
        """Return the probabilities of the known conditions and of all, if countable."""
        columns = {name for each in (*known, *asked) for name in each.columns}
        needed = self.sampler.needed(columns)
        if any(self._has_rare(j) for j in needed):
            return None
        totals = np.zeros(2)
        for which in range(self.model.orderings):
            order = self.model.ordering_list(which)
            last = max(
                (k for k, i in enumerate(order) if self._column(i) in needed),
                default=-1,
            )
            prefix = np.sort(np.array(order[: last + 1], np.int64))
            codes = combinations(self.model.variables, prefix, MAX_COMBINATIONS)
            if codes is None:
                return None
            x = np.full((len(codes), self.encoder.dim), np.nan, np.float32)
            x[:, prefix] = codes
            log_prob = self.sampler.completer.log_prob(x, which)[:, prefix].sum(1)
            holds = self.sampler.holds(known, x)
            both = holds & self.sampler.holds(asked, x)
            probability = np.exp(log_prob)
            totals += probability @ np.stack([holds, both], 1)
        first, second = (totals / self.model.orderings).tolist()
        return first, second

    def _column(self, variable: int) -> int:
        """Return the number of the column of a variable."""
        return self.model.variables[variable].column_index

    def _has_rare(self, j: int) -> bool:
        """Return whether a code of column `j` stands for several values."""
        plain = self.encoder.columns[j].plain
        return isinstance(plain, CodeColumn) and plain.code("rare") >= 0


def _impossible(given: str) -> ValueError:
    """Return the error for a condition that no draw satisfies."""
    return ValueError(
        f"given {given!r}: no row satisfies it, or it is too improbable for the number "
        "of draws; check its values, give less, or draw more"
    )
