"""Anomaly statistics of encoded rows.

All statistics are sums over the columns and compare the values of a row with what the
model expects, in nats, or with stored training rows. Their expectation is zero where
the model is right, except for surprisal, leave_one_out, ratio, combined and distances.

combined: The maximum of density, max_column, nearness and neighbourhood, each
standardised by its calibration scores, since they fail on different rows: density where
ordinary columns outweigh an anomalous one, both where the network is too smooth for the
relations between columns, nearness where training rows are anomalous, neighbourhood
where ordinary rows form many small groups. Without stored training rows it is that of
excess, tail, density and max_column.

surprisal: -log_prob.

excess: The surprisal minus the entropy, both taken variable by variable, given the
variables before it in the row, over those that are present. A missing value is compared
with the probability of a missing value only. Real columns are compared in the encoder's
coordinates, in which changes of units cancel.

density: The excess in the column's own unit: minus, for reals, what their log-density
has of the unit, beyond its mean. Values where the column is sparse are thus more
anomalous, and a change of units still cancels.

surplus: The excess where it is positive, else 0: an ordinary column does not compensate
for an anomalous one.

tail: -log of the tail probability, minus 1, its expectation; see
`ar_models.scoring.tail_probability`. The mean over all orderings.

leave_one_out: -log p(column | all other columns), for order-agnostic families.

ratio: log_prob under independent columns minus log_prob.

marginal_tail: The density plus, for each variable, -log of its marginal tail
probability minus 1. Given one extreme value, a model that learned from anomalies
expects the next one; marginal distributions do not. An absent value has the tail
probability 1.

nearness: The distance to a near one of the stored training rows, in standard deviations
of a column. A column's part is its squared difference, over the distance.

neighbourhood: The mean distance to the nearest of some stored training rows; see
`ar_models.scoring.nearness`.

max_column: The density of the column where it is greatest, plus that of the others
weighted by `OTHER_COLUMNS_WEIGHT`; a component of combined only.

A cell out of support has no network output: it contributes its surprisal (in tail, its
tail probability), in combined on the scale of the component that is greatest. A
violated inequality adds minus its log-weight in every statistic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.families.base import AutoregressiveModel
from ar_models.families.independent import Independent
from ar_models.families.orderings import mean_of_orderings
from ar_models.scoring.choices import DISTANCES, STATISTICS, Precision, Statistic
from ar_models.scoring.column_log_prob import padded_conditionals, sum_by_column
from ar_models.scoring.nearness import Nearness, Neighbour
from ar_models.scoring.robust_scale import UNIT_SCALES, RobustScale
from ar_models.scoring.tail_probability import (
    log_tail_probability,
    variable_log_tails,
)
from ar_models.tables.columns import IN_SUPPORT
from ar_models.tables.encoder import Encoded

Floats = NDArray[np.float64]

OTHER_COLUMNS_WEIGHT = 0.2
"""Weight in max_column of the columns besides the greatest. Chosen on labelled data
sets, see BENCHMARKS.md; with 0, rows of few categorical columns would tie."""

LEAVE_ONE_OUT_PASSES = 2**19
"""Maximum number of rows passed through the network for the leave_one_out scores of one
batch of calibration rows."""


Contributions = tuple[Floats, Tensor]
"""Contributions of the columns (n, columns), and the scores of the rows in each
ordering (orderings, n), both in nats."""


@dataclass(frozen=True)
class Scores:
    """Scores of a batch of n rows by one statistic.

    Attributes:
        x: Variables of the rows, (n, dim).
        conditionals: Conditionals of `x` in the first ordering.
        network: Log-probability of each variable given those before it, (n, dim), nats.
        log_prob: Log-probability of each column given those before it, (n, columns),
            nats.
        contributions: Contribution of each column to the anomaly score, (n, columns),
            nats.
        uncertainty: Standard deviation over the orderings of the score by each of them
            alone, (n,), nats; None if there is one ordering.
    """

    x: Tensor
    conditionals: Conditionals
    network: Tensor
    log_prob: Floats
    contributions: Floats
    uncertainty: Floats | None = None

    @property
    def anomaly_score(self) -> Floats:
        """Anomaly score of each row, (n,), nats."""
        return np.asarray(self.contributions.sum(axis=1))


@torch.inference_mode()
def score_batch(
    model: AutoregressiveModel,
    encoded: Encoded,
    statistic: Statistic,
    scales: Mapping[str, RobustScale] = UNIT_SCALES,
    precision: Precision = "fp32",
    nearness: Nearness | None = None,
) -> Scores:
    """Score encoded rows by one statistic.

    Args:
        model: In eval mode.
        encoded: The n rows.
        statistic: Name of the statistic; see the module's description.
        scales: Scales of the components of combined.
        precision: Number format of the network's products.
        nearness: Stored training rows; required by the statistics that are distances.

    Raises:
        TypeError: The statistic is leave_one_out and the family not order-agnostic.
    """
    batch = _Batch(model, encoded, scales, precision, nearness)
    contributions, scores = ANOMALY_SCORES[statistic](batch)
    # Of no rows, torch warns.
    several = scores.double().cpu().numpy() if len(scores) > 1 else None
    spread = None if several is None else several.std(axis=0, ddof=1)
    first = batch.conditionals[0]
    return Scores(
        batch.x, first, batch.variables, batch.log_prob, contributions, spread
    )


@torch.inference_mode()
def reference_scores(
    model: AutoregressiveModel, encoded: Encoded, nearness: Nearness | None = None
) -> dict[str, Floats]:
    """Compute log_prob and the anomaly scores by all statistics but combined, (n,).

    leave_one_out takes as many passes as there are variables. If these are many, only
    the first rows have it, and the others NaN.

    Args:
        model: In eval mode.
        encoded: The n rows.
        nearness: Stored training rows; None: distances are not computed.
    """
    batch = _Batch(model, encoded, nearness=nearness)
    found = {"log_prob": batch.log_prob.sum(axis=1)}
    for statistic in (*statistics_of(model, nearness), "max_column"):
        if statistic == "combined":
            continue  # its scales depend on all rows, see `combined_scores`
        if statistic != "leave_one_out":
            found[statistic] = ANOMALY_SCORES[statistic](batch)[0].sum(axis=1)
            continue
        rows = slice(max(1, LEAVE_ONE_OUT_PASSES // model.dim))
        part = replace(
            encoded,
            x=encoded.x[rows],
            log_abs_det=encoded.log_abs_det[rows],
            out_of_support=encoded.out_of_support[rows],
            penalties=None if encoded.penalties is None else encoded.penalties[rows],
        )
        scores = np.full(len(encoded.x), np.nan)
        scores[rows] = score_batch(model, part, "leave_one_out").anomaly_score
        found[statistic] = scores
    return found


def statistics_of(
    model: AutoregressiveModel, nearness: Nearness | None = None
) -> list[Statistic]:
    """Return the statistics that a model supports.

    Args:
        model: The model.
        nearness: Training rows that are stored with it, if there are any.
    """
    lacking = set() if model.order_agnostic else {"leave_one_out"}
    if nearness is None:
        lacking |= set(DISTANCES)
    return [s for s in STATISTICS if s not in lacking]


class _Batch:
    """A batch of rows as a model sees it; statistics are computed from it.

    Args:
        model: In eval mode.
        encoded: The n rows.
        scales: Scales of the components of combined.
        precision: Number format of the network's products.
        nearness: Stored training rows.

    Attributes:
        x: Variables of the rows, (n, dim).
        conditionals: Conditionals of `x` in each ordering.
        each: Log-probabilities of the variables in each ordering, (orderings, n, dim),
            nats.
        variables: Log-probability of each variable over all orderings, (n, dim), nats.
        network: Log-probability of each column over all orderings without the encoder's
            part, (n, columns), nats.
        log_prob: Log-probability of each column, (n, columns), nats.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        encoded: Encoded,
        scales: Mapping[str, RobustScale] = UNIT_SCALES,
        precision: Precision = "fp32",
        nearness: Nearness | None = None,
    ) -> None:
        self.model, self.encoded, self.scales = model, encoded, scales
        self.precision, self.nearness = precision, nearness
        x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
        self.x = x
        with self.autocast():
            self.conditionals = padded_conditionals(model, encoded, x)
        if model.is_bound:  # the conditionals do not sum to the bound
            self.conditionals = self.conditionals[:1]
            with self.autocast():
                self.each = model.variable_log_prob(x).unsqueeze(0)
        else:
            self.each = torch.stack([c.log_prob(x) for c in self.conditionals])
        self.variables = mean_of_orderings(self.each)
        self.network = sum_by_column(self.variables, model.variables)
        self.log_prob = encoded.log_abs_det + self.network

    def autocast(self) -> torch.autocast:
        """Return a context in which the network computes in the wanted precision."""
        device, rough = self.x.device.type, self.precision == "bf16"
        return torch.autocast(device, torch.bfloat16, enabled=rough)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which cells are in support, (n, columns)."""
        return np.asarray(self.encoded.out_of_support == IN_SUPPORT)

    @cached_property
    def excess(self) -> Contributions:
        """Contributions and scores of the statistic excess."""
        weights = self.each.sum(-1).softmax(0).unsqueeze(-1)
        entropies = torch.stack([c.entropy() for c in self.conditionals])
        entropies = entropies.masked_fill(self.x.isnan(), 0.0)
        expected = sum_by_column((weights * entropies).sum(0), self.model.variables)
        scores = -(self.each + entropies).sum(-1)
        surprise = self.penalised(-self.network - expected)
        return self.replace_out_of_support(surprise), scores

    @cached_property
    def neighbours(self) -> tuple[Neighbour, Neighbour]:
        """Nearest and further neighbours of the rows among the stored rows."""
        assert self.nearness is not None  # see `statistics_of`
        return self.nearness.neighbours(self.encoded.x)

    def distance(self, neighbour: Neighbour) -> Contributions:
        """Return the contributions of columns to a distance; all orderings agree."""
        shares = self.replace_out_of_support(self.penalised(neighbour.shares))
        if self.encoded.unknown is not None:
            shares = np.where(self.encoded.unknown, 0.0, shares)
        scores = torch.from_numpy(shares.sum(axis=1))
        return shares, scores.expand(len(self.conditionals), -1)

    def penalised(self, contributions: Floats) -> Floats:
        """Add what the log-probability loses by violated inequalities."""
        penalties = self.encoded.penalties
        return contributions if penalties is None else contributions + penalties

    def replace_out_of_support(self, contributions: Floats) -> Floats:
        """Replace contributions of cells out of support by their surprisal."""
        return np.where(self.inside, contributions, -self.encoded.log_abs_det)


def _surprisal(batch: _Batch) -> Contributions:
    return -batch.log_prob, -batch.each.sum(-1)


def _excess(batch: _Batch) -> Contributions:
    return batch.excess


def _density(batch: _Batch) -> Contributions:
    excess, scores = batch.excess
    if batch.encoded.mean_log_slopes is None:
        return excess, scores
    mean = torch.from_numpy(batch.encoded.mean_log_slopes).to(batch.x.device)
    mean = mean.expand(batch.x.shape).masked_fill(batch.x.isnan(), 0.0)
    units = sum_by_column(mean, batch.model.variables) - batch.encoded.log_abs_det
    if batch.encoded.penalties is not None:  # the excess has them already
        units = units - batch.encoded.penalties
    return batch.replace_out_of_support(excess + units), scores


def _combined(batch: _Batch) -> Contributions:
    every, of_orderings = [], []
    unit = next(iter(batch.scales.values()))
    for name, own in batch.scales.items():
        factor, summand = own.map_to(unit)
        contributions, scores = ANOMALY_SCORES[name](batch)
        every.append(factor * contributions + summand / contributions.shape[1])
        of_orderings.append(factor * scores.double().cpu() + summand)
    each = np.stack(every)
    winner = each.sum(axis=-1).argmax(axis=0)
    rows = np.arange(len(winner))
    spread = torch.stack(of_orderings)[torch.from_numpy(winner), :, rows].T
    return each[winner, rows], spread


def _surplus(batch: _Batch) -> Contributions:
    excess, scores = batch.excess
    return np.maximum(excess, 0.0), scores


def _tail(batch: _Batch) -> Contributions:
    each = np.stack(
        [
            -log_tail_probability(
                batch.model.variables,
                c,
                batch.encoded,
                log_prob=None if batch.model.is_bound else log_prob,
            )
            - 1
            for c, log_prob in zip(batch.conditionals, batch.each, strict=True)
        ]
    )
    each = np.where(batch.inside, batch.penalised(each), each)
    if batch.encoded.unknown is not None:
        each = np.where(batch.encoded.unknown, 0.0, each)
    return each.mean(0), torch.from_numpy(each.sum(-1))


def _leave_one_out(batch: _Batch) -> Contributions:
    total = torch.empty_like(batch.x)
    present = ~batch.x.isnan()
    column = torch.tensor(
        [v.column_index for v in batch.model.variables], device=present.device
    )
    for i, variable in enumerate(batch.model.variables):
        known = present & (column != variable.column_index)
        known[:, :i] = present[:, :i]
        with batch.autocast():
            given = batch.model.conditionals_given(batch.x, known)
        total[:, i] = given.log_prob(batch.x)[:, i]
    surprise = batch.penalised(-sum_by_column(total, batch.model.variables))
    return batch.replace_out_of_support(surprise), batch.each[:1].sum(-1)


def _independent(batch: _Batch) -> Independent:
    """Return the marginal distributions of the batch's variables."""
    model = Independent(batch.model.variables, Independent.Settings())
    return model.to(batch.x.device).eval()


def _ratio(batch: _Batch) -> Contributions:
    independent = _independent(batch)
    alone = sum_by_column(independent.variable_log_prob(batch.x), independent.variables)
    ratio = batch.penalised(alone - batch.network)
    return batch.replace_out_of_support(ratio), -batch.each.sum(-1)


def _nearness(batch: _Batch) -> Contributions:
    return batch.distance(batch.neighbours[0])


def _neighbourhood(batch: _Batch) -> Contributions:
    return batch.distance(batch.neighbours[1])


def _max_column(batch: _Batch) -> Contributions:
    each, scores = _density(batch)
    rows = np.arange(len(each))
    greatest = each.argmax(axis=1)
    contributions = OTHER_COLUMNS_WEIGHT * each
    contributions[rows, greatest] = each[rows, greatest]
    return contributions, scores


def _marginal_tail(batch: _Batch) -> Contributions:
    contributions, scores = _density(batch)
    variables = batch.model.variables
    marginals = _independent(batch).conditionals(batch.x)
    half = torch.full_like(batch.x, 0.5)
    tails = variable_log_tails(variables, marginals, batch.x, half, None)
    apart = sum_by_column(-tails.nan_to_num(nan=0.0) - 1, variables)
    counts = batch.encoded.out_of_support == IN_SUPPORT
    if batch.encoded.unknown is not None:
        counts &= ~batch.encoded.unknown
    return contributions + np.where(counts, apart, 0.0), scores


ANOMALY_SCORES: dict[str, Callable[[_Batch], Contributions]] = {
    "combined": _combined,
    "density": _density,
    "surplus": _surplus,
    "excess": _excess,
    "surprisal": _surprisal,
    "tail": _tail,
    "leave_one_out": _leave_one_out,
    "ratio": _ratio,
    "marginal_tail": _marginal_tail,
    "nearness": _nearness,
    "neighbourhood": _neighbourhood,
    "max_column": _max_column,
}
