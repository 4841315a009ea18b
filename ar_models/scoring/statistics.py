"""What a model says about encoded rows, and how anomalous that makes them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.families.base import AutoregressiveModel
from ar_models.families.independent import Independent
from ar_models.families.orderings import mean_of_orderings
from ar_models.scoring.conformal import TIE
from ar_models.tables.columns import IN_SUPPORT
from ar_models.tables.encoder import Encoded
from ar_models.variables import Variable

Floats = NDArray[np.float64]

Statistic = Literal[
    "combined",
    "density",
    "surplus",
    "excess",
    "surprisal",
    "tail",
    "leave_one_out",
    "ratio",
    "marginal_tail",
]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

Precision = Literal["fp32", "bf16"]

DEFAULT: Statistic = "combined"
"""What an anomaly score is made of where nothing else is asked for."""

COMBINED: tuple[str, ...] = ("excess", "tail", "density", "max_column")
"""What the statistic combined is the greatest of."""


class RobustScale(NamedTuple):
    """Location and upper-tail scale of a statistic over ordinary rows, in nats.

    Attributes:
        median: Median of the scores.
        tail: Mean excess of the upper quartile's scores over the 0.75 quantile, which
            is the scale of an exponential tail.
    """

    median: float
    tail: float

    @classmethod
    def from_scores(cls, scores: Floats) -> "RobustScale":
        """Estimate the scale from the scores (n,) of ordinary rows."""
        median, upper = np.quantile(scores, (0.5, 0.75))
        tail = float((scores[scores >= upper] - upper).mean())
        return cls(float(median), max(tail, TIE))

    def map_to(self, other: "RobustScale") -> tuple[float, float]:
        """Return the factor and the summand that map this scale to another."""
        factor = other.tail / self.tail
        return factor, other.median - factor * self.median


UNIT_SCALES: Mapping[str, RobustScale] = MappingProxyType(
    dict.fromkeys(COMBINED, RobustScale(0.0, 1.0))
)
"""Where there are no calibration rows."""

OTHERS = 0.2
"""Weight of the other columns in max_column. Chosen on labelled sets,
see BENCHMARKS.md; without them rows of few columns of codes would be equal."""

PASSES = 2**19
"""Rows that pass through the network, at most, for the leave_one_out of a batch."""


@dataclass(frozen=True)
class Scores:
    """What a model says about a batch of n rows.

    Attributes:
        x: The rows' variables, (n, dim).
        conditionals: Of `x`, in the first ordering.
        network: Log-probability of each variable given those before it, (n, dim), nats.
        log_prob: Of each column given those before it, (n, columns), nats.
        contributions: What each column adds to the anomaly score, (n, columns), nats.
        uncertainty: Standard deviation over orderings of the score that each alone
            would give, (n,), nats; None where there is one ordering.
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
def log_probs(model: AutoregressiveModel, encoded: Encoded) -> Floats:
    """Log-probability of each column of encoded rows, (n, columns), nats."""
    x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
    return np.asarray(encoded.log_abs_det + network_log_probs(model, encoded, x))


def network_log_probs(
    model: AutoregressiveModel, encoded: Encoded, x: Tensor
) -> Floats:
    """As `log_probs`, without the encoder's part."""
    if encoded.unknown is None:
        each = model.variable_log_prob(x)
    else:
        each = mean_of_orderings(
            torch.stack([c.log_prob(x) for c in conditionals_of(model, encoded, x)])
        )
    return by_column(each, model.variables)


def conditionals_of(
    model: AutoregressiveModel, encoded: Encoded, x: Tensor
) -> list[Conditionals]:
    """The conditionals of encoded rows in each ordering, unknown cells marginalised."""
    if encoded.unknown is None:
        return [model.conditionals(x, k) for k in range(model.orderings)]
    groups = [variable.column_index for variable in model.variables]
    known = torch.from_numpy(~encoded.unknown[:, groups]).to(x.device)
    return [model.marginal_conditionals(x, known, k) for k in range(model.orderings)]


def conditionals_of_round_number(
    model: AutoregressiveModel, encoded: Encoded, x: Tensor
) -> list[Conditionals]:
    """As `conditionals_of`, in bf16 on processors by way of a few rows more.

    PyTorch's library makes a program for each new number of rows there, which takes
    milliseconds a product, and keeps a thousand of them.
    """
    rows = len(x)
    more = rounded_up(rows)
    rough = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if more == rows or not rough:
        return conditionals_of(model, encoded, x)
    at = np.minimum(np.arange(more), rows - 1)
    unknown = None if encoded.unknown is None else encoded.unknown[at]
    wide = replace(encoded, x=encoded.x[at], unknown=unknown)
    found = conditionals_of(model, wide, x[torch.from_numpy(at)])
    return [Conditionals(of.layout, of.parameters[:rows]) for of in found]


def rounded_up(rows: int) -> int:
    """`rows` or a few more: a number of three binary digits and zeros."""
    step = 1 << max(0, rows.bit_length() - 3)
    return -(-rows // step) * step


@torch.inference_mode()
def score_batch(
    model: AutoregressiveModel,
    encoded: Encoded,
    statistic: Statistic,
    scales: Mapping[str, RobustScale] = UNIT_SCALES,
    precision: Precision = "fp32",
) -> Scores:
    """What `model` says about encoded rows, and by what columns are anomalous.

    All statistics are sums over the columns, in nats, and weigh what was found against
    what the model expects. They have the expectation zero where it is right, but for
    surprisal, leave_one_out, ratio and combined.

    combined: The greatest of excess, tail, density and max_column (the density, of
    which the column where it is greatest counts whole and the others by OTHERS), each
    standardised by its calibration scores, for they fail on different rows: tail in
    gaps between modes, density where ordinary values are far apart, excess where
    anomalous ones are, and all three where ordinary columns outweigh an anomalous one.

    surprisal: -log_prob.

    excess: The surprisal less the entropy, both taken variable by variable, given the
    variables before it in the row, over those that are present. A missing value is
    weighed against the chance of one only. Real columns are compared in the encoder's
    coordinates, where changes of units cancel.

    density: The excess in the column's own units: of reals less what their log-density
    has of the units, beyond its mean. So values where the column is sparse are
    more anomalous, and a change of units cancels all the same.

    surplus: The excess where it is positive, else 0: an ordinary column does not
    excuse an anomalous one.

    tail: -log of the tail probability less 1, its expectation; see
    `log_tail_probability`. Of all orderings the mean.

    leave_one_out: -log p(column | all other columns), of order-agnostic families.

    ratio: log_prob under independent columns less log_prob: how much less likely the
    row is to the model than to one that knows each column by itself.

    marginal_tail: The density plus, for each variable, -log of its tail probability by
    itself less 1. Given one extreme value a model that learned from anomalies expects
    the next one; columns by themselves do not get used to it. An absent value is
    wholly ordinary: its tail probability is 1.

    A cell out of support is no network output: but for surprisal and tail it adds its
    surprisal, in combined on the winner's scale.

    Args:
        model: In eval mode.
        encoded: The n rows.
        statistic: One of them.
        scales: Of what combined is made of, as `robust_scales` gives it.
        precision: Of the networks' products.

    Raises:
        TypeError: leave_one_out was asked of a family that is not order-agnostic.
    """
    view = View(model, encoded, scales, precision)
    contributions, scores = ANOMALY_SCORES[statistic](view)
    spread = scores.double().std(0).cpu().numpy() if len(scores) > 1 else None
    first = view.conditionals[0]
    return Scores(view.x, first, view.variables, view.log_prob, contributions, spread)


@torch.inference_mode()
def reference_scores(
    model: AutoregressiveModel,
    encoded: Encoded,
) -> dict[str, Floats]:
    """log_prob and the anomaly score by every statistic that `model` knows, each (n,).

    As many passes as there are variables go into leave_one_out, so of many rows with
    many variables only the first have it, and the others NaN.
    """
    view = View(model, encoded)
    found = {"log_prob": view.log_prob.sum(axis=1)}
    for statistic in (*statistics_of(model), "max_column"):
        if statistic == "combined":
            continue  # what is usual depends on all rows, see `combined_scores`
        if statistic != "leave_one_out":
            found[statistic] = ANOMALY_SCORES[statistic](view)[0].sum(axis=1)
            continue
        rows = slice(max(1, PASSES // model.dim))
        part = replace(
            encoded,
            x=encoded.x[rows],
            log_abs_det=encoded.log_abs_det[rows],
            out_of_support=encoded.out_of_support[rows],
        )
        scores = np.full(len(encoded.x), np.nan)
        scores[rows] = score_batch(model, part, "leave_one_out").anomaly_score
        found[statistic] = scores
    return found


def robust_scales(calibration: Mapping[str, Floats]) -> dict[str, RobustScale]:
    """What is usual of the statistics that combined is made of.

    Args:
        calibration: What `reference_scores` gave, each (n,); {}: as good as nothing.
    """
    if not calibration or not len(calibration["excess"]):
        return dict(UNIT_SCALES)
    return {n: RobustScale.from_scores(calibration[n]) for n in COMBINED}


def combined_scores(calibration: Mapping[str, Floats]) -> Floats:
    """The calibration rows' scores by the statistic combined, (n,), nats."""
    scales = robust_scales(calibration)
    each = []
    for name, own in scales.items():
        factor, summand = own.map_to(scales["excess"])
        each.append(factor * calibration[name] + summand)
    return np.asarray(np.max(each, axis=0))


def statistics_of(model: AutoregressiveModel) -> list[Statistic]:
    """The statistics that a model's family allows."""
    return [s for s in STATISTICS if s != "leave_one_out" or model.order_agnostic]


class View:
    """What statistics are made of.

    Args:
        model: The model.
        encoded: The n rows.
        scales: Of the statistics that combined is made of.
        precision: Of the networks' products.

    Attributes:
        x: Their variables, (n, dim).
        conditionals: Of `x`, in each ordering.
        each: Log-probabilities of the variables in each, (orderings, n, dim), nats.
        variables: Log-probability of each variable over all orderings, (n, dim), nats.
        network: Of each column, over all orderings, without the encoder's part,
            (n, columns), nats.
        log_prob: With it.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        encoded: Encoded,
        scales: Mapping[str, RobustScale] = UNIT_SCALES,
        precision: Precision = "fp32",
    ) -> None:
        self.model, self.encoded, self.scales = model, encoded, scales
        self.precision = precision
        x = torch.from_numpy(encoded.x).to(model.ordering_table.device)
        self.x = x
        with self.rounding():
            self.conditionals = conditionals_of_round_number(model, encoded, x)
        if model.is_bound:  # what these give does not add up to it
            self.conditionals = self.conditionals[:1]
            with self.rounding():
                self.each = model.variable_log_prob(x).unsqueeze(0)
        else:
            self.each = torch.stack([c.log_prob(x) for c in self.conditionals])
        self.variables = mean_of_orderings(self.each)
        self.network = by_column(self.variables, model.variables)
        self.log_prob = encoded.log_abs_det + self.network

    def rounding(self) -> torch.autocast:
        """For what a network computes; what is made of it is computed as ever."""
        device, rough = self.x.device.type, self.precision == "bf16"
        return torch.autocast(device, torch.bfloat16, enabled=rough)

    @cached_property
    def excess(self) -> tuple[Floats, Tensor]:
        """Contributions (n, columns), and a score per ordering (orderings, n)."""
        weights = self.each.sum(-1).softmax(0).unsqueeze(-1)
        entropies = torch.stack([c.entropy() for c in self.conditionals])
        entropies = entropies.masked_fill(self.x.isnan(), 0.0)
        expected = by_column((weights * entropies).sum(0), self.model.variables)
        scores = -(self.each + entropies).sum(-1)
        return self.replace_out_of_support(-self.network - expected), scores

    def replace_out_of_support(self, contributions: Floats) -> Floats:
        """Replace contributions of cells out of support by their surprisal."""
        inside = self.encoded.out_of_support == IN_SUPPORT
        return np.where(inside, contributions, -self.encoded.log_abs_det)


def _surprisal(view: View) -> tuple[Floats, Tensor]:
    """As `View.excess`."""
    return -view.log_prob, -view.each.sum(-1)


def _excess(view: View) -> tuple[Floats, Tensor]:
    return view.excess


def _density(view: View) -> tuple[Floats, Tensor]:
    excess, scores = view.excess
    if view.encoded.mean_log_slopes is None:
        return excess, scores
    mean = torch.from_numpy(view.encoded.mean_log_slopes).to(view.x.device)
    mean = mean.expand(view.x.shape).masked_fill(view.x.isnan(), 0.0)
    units = by_column(mean, view.model.variables) - view.encoded.log_abs_det
    return view.replace_out_of_support(excess + units), scores


def _combined(view: View) -> tuple[Floats, Tensor]:
    every, of_orderings = [], []
    for name, own in view.scales.items():
        factor, summand = own.map_to(view.scales["excess"])
        contributions, scores = ANOMALY_SCORES[name](view)
        every.append(factor * contributions + summand / contributions.shape[1])
        of_orderings.append(factor * scores.double().cpu() + summand)
    each = np.stack(every)
    winner = each.sum(axis=-1).argmax(axis=0)
    rows = np.arange(len(winner))
    spread = torch.stack(of_orderings)[torch.from_numpy(winner), :, rows].T
    return each[winner, rows], spread


def _surplus(view: View) -> tuple[Floats, Tensor]:
    excess, scores = view.excess
    return np.maximum(excess, 0.0), scores


def _tail(view: View) -> tuple[Floats, Tensor]:
    each = np.stack(
        [
            -log_tail_probability(
                view.model.variables,
                c,
                view.encoded,
                log_prob=None if view.model.is_bound else log_prob,
            )
            - 1
            for c, log_prob in zip(view.conditionals, view.each, strict=True)
        ]
    )
    if view.encoded.unknown is not None:
        each = np.where(view.encoded.unknown, 0.0, each)
    return each.mean(0), torch.from_numpy(each.sum(-1))


def _leave_one_out(view: View) -> tuple[Floats, Tensor]:
    total = torch.empty_like(view.x)
    present = ~view.x.isnan()
    column = torch.tensor(
        [v.column_index for v in view.model.variables], device=present.device
    )
    for i, variable in enumerate(view.model.variables):
        known = present & (column != variable.column_index)
        known[:, :i] = present[:, :i]
        with view.rounding():
            given = view.model.conditionals_given(view.x, known)
        total[:, i] = given.log_prob(view.x)[:, i]
    found = view.replace_out_of_support(-by_column(total, view.model.variables))
    return found, view.each[:1].sum(-1)


def _ratio(view: View) -> tuple[Floats, Tensor]:
    independent = (
        Independent(view.model.variables, Independent.Settings())
        .to(view.x.device)
        .eval()
    )
    alone = by_column(independent.variable_log_prob(view.x), independent.variables)
    return view.replace_out_of_support(alone - view.network), -view.each.sum(-1)


def _max_column(view: View) -> tuple[Floats, Tensor]:
    each, scores = _density(view)
    rows = np.arange(len(each))
    greatest = each.argmax(axis=1)
    contributions = OTHERS * each
    contributions[rows, greatest] = each[rows, greatest]
    return contributions, scores


def _marginal_tail(view: View) -> tuple[Floats, Tensor]:
    contributions, scores = _density(view)
    variables = view.model.variables
    alone = (
        Independent(variables, Independent.Settings())
        .to(view.x.device)
        .eval()
        .conditionals(view.x)
    )
    half = torch.full_like(view.x, 0.5)
    tails = _log_tails_of_variables(variables, alone, view.x, half, None)
    apart = by_column(-tails.nan_to_num(nan=0.0) - 1, variables)
    counts = view.encoded.out_of_support == IN_SUPPORT
    if view.encoded.unknown is not None:
        counts &= ~view.encoded.unknown
    return contributions + np.where(counts, apart, 0.0), scores


ANOMALY_SCORES: dict[str, Callable[[View], tuple[Floats, Tensor]]] = {
    "combined": _combined,
    "density": _density,
    "surplus": _surplus,
    "excess": _excess,
    "surprisal": _surprisal,
    "tail": _tail,
    "leave_one_out": _leave_one_out,
    "ratio": _ratio,
    "marginal_tail": _marginal_tail,
    "max_column": _max_column,
}


@torch.inference_mode()
def tail_probability(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    encoded: Encoded,
    *,
    noise: Floats | None = None,
) -> Floats:
    """How extreme each column's value is, given the columns before it, (n, columns).

    As `log_tail_probability`, of which this is the exponential.
    """
    return np.exp(log_tail_probability(variables, conditionals, encoded, noise=noise))


@torch.inference_mode()
def log_tail_probability(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    encoded: Encoded,
    *,
    noise: Floats | None = None,
    log_prob: Tensor | None = None,
) -> Floats:
    """Log of the probability of something at least as extreme, (n, columns), nats.

    Of a number twice the probability of its side, of a code that of all codes at most
    as likely; so units and the order of codes do not matter. Of a column with several
    variables (state and value, digits, parts of a time) the least of theirs, each given
    the variables before it, corrected for their number as Šidák's: 1 - (1 - p)^k. The
    place where a column is out of support has the mass of that.

    With `noise` ties are divided at random and what is absent has its noise as
    probability. Then each column's is uniform on [0, 1] where the model is right, given
    the columns before it, to within the mass out of support: a p-value, and columns are
    independent. Without, half of a tie counts (mid-p), what is absent is left out of
    the least, and k counts what is present.

    Args:
        variables: Of the model.
        conditionals: Of `encoded.x`, in one ordering. Those of a family with `is_bound`
            know the whole row, and then nothing is uniform.
        encoded: The n rows.
        noise: Uniform numbers (n, dim).
        log_prob: What `conditionals` give for `encoded.x`, (n, dim), if it is known.
    """
    x = torch.from_numpy(encoded.x).to(conditionals.parameters.device)
    share = torch.full_like(x, 0.5) if noise is None else torch.from_numpy(noise).to(x)
    each = _log_tails_of_variables(variables, conditionals, x, share, log_prob).double()
    count = by_column(
        torch.ones_like(x) if noise is not None else ~x.isnan(), variables
    )
    absent = torch.full_like(each, torch.inf) if noise is None else share.double().log()
    each = torch.where(x.isnan(), absent, each)
    least = np.minimum(_least_by_column(each, variables), 0.0)
    tail = _sidak(least, np.maximum(count, 1))
    out_of_support = encoded.out_of_support != IN_SUPPORT
    if out_of_support.any():
        first = [v.column_index for v in variables].index
        at = [first(j) for j in range(tail.shape[1])]
        of_ties = share[:, at].double().log().cpu().numpy()
        tail = np.where(
            out_of_support, encoded.log_abs_det + math.log(3) + of_ties, tail
        )
    return tail


def _log_tails_of_variables(
    variables: Sequence[Variable],
    conditionals: Conditionals,
    x: Tensor,
    share: Tensor,
    log_prob: Tensor | None,
) -> Tensor:
    """Of each variable, with a share of what is as extreme, (n, dim); NaN if absent."""
    less, equal, more = conditionals.log_tail_probs(x, log_prob).unbind(-1)
    low = torch.logaddexp(less, equal + share.log())
    high = torch.logaddexp(more, equal + torch.log1p(-share))
    number = torch.tensor([v.kind in ("integer", "real") for v in variables])
    two_sided = torch.minimum(low, high) + math.log(2)
    return torch.where(number.to(x.device), two_sided, low)


def _least_by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """The least of the variables of each column: (n, dim) -> (n, columns)."""
    column = torch.tensor([v.column_index for v in variables], device=values.device)
    shape = len(values), int(column.max()) + 1
    least = values.new_full(shape, torch.inf)
    least.scatter_reduce_(1, column.expand_as(values), values, "amin")
    return np.asarray(least.cpu().numpy())


def _sidak(log_p: Floats, count: Floats) -> Floats:
    """Log of 1 - (1 - p)^count, also where p is far below what a float tells from 0."""
    result = log_p.copy()
    several = np.nonzero(count > 1)
    log_p, count = log_p[several], count[several]
    small = log_p < -15
    with np.errstate(divide="ignore"):
        exact = np.log(-np.expm1(count * np.log1p(-np.exp(np.where(small, -1, log_p)))))
    result[several] = np.where(small, log_p + np.log(count), exact)
    return result


def by_column(values: Tensor, variables: Sequence[Variable]) -> Floats:
    """Sums over the variables of each column: (n, dim) -> (n, columns), float64."""
    column = torch.tensor([v.column_index for v in variables], device=values.device)
    total = torch.zeros(
        len(values), int(column.max()) + 1, dtype=torch.float64, device=values.device
    )
    return np.asarray(total.index_add_(1, column, values.double()).cpu().numpy())
