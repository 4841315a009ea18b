"""Checks of the gate on calibration: distances of p-values and columns from uniform."""

import math
from collections.abc import Iterator, Sequence

from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.evaluation import distances
from tasks.evaluation.checks import Check, at_most
from tasks.evaluation.uniformity import Uniformity
from tasks.registry.gate.predictions import Predictions


def check_uniformity(
    predictions: Predictions, density: TableDensity, config: GateConfig
) -> Iterator[Check]:
    """Check that the p-values of held-out rows are about uniform.

    Args:
        predictions: Those of the model for the rows.
        density: The model; without calibration rows nothing is checked.
        config: The largest distance beyond chance.
    """
    if predictions.p_values is None:
        return
    calibration_rows = len(density.calibration["log_prob"])
    found = Uniformity.of(predictions.p_values, calibration_rows)
    fault = found.fault(config.max_p_value_ks)
    remark = fault or f"KS distance of p-values from uniform: {found.ks:.4f}"
    bound = config.max_p_value_ks + found.chance
    yield Check(
        "p_value_ks", found.ks, fault is None, remark, bound=bound, needs_review=True
    )


def is_recalibrated(new: TableDensity, old: TableDensity) -> bool:
    """Return whether two models differ by their calibration rows alone."""
    ours, theirs = new.info["fingerprints"], old.info["fingerprints"]
    return all(ours[part] == theirs[part] for part in ("weights", "encoder"))


def check_recalibration(ours: Predictions, theirs: Predictions) -> Check:
    """Check that p-values are nearer to uniform than under the champion.

    In place of the check of log-probabilities, which calibration rows do not change.

    Args:
        ours: Predictions of the challenger, the champion with other calibration rows.
        theirs: Predictions of the champion.
    """
    if ours.p_values is None:
        return Check("improvement", 0.0, False, "there are no calibration rows")
    after = distances.ks_from_uniform(ours.p_values)
    if theirs.p_values is None:
        remark = (
            f"KS distance of p-values from uniform: {after:.4f}, before there were none"
        )
        return Check("improvement", after, True, remark)
    before = distances.ks_from_uniform(theirs.p_values)
    remark = (
        f"KS distance of p-values from uniform: {after:.4f}, with the champion's "
        f"calibration rows {before:.4f}"
    )
    return Check("improvement", before - after, after < before, remark, bound=0.0)


def check_calibration(
    ours: Predictions, theirs: Predictions, config: GateConfig
) -> Iterator[Check]:
    """Check that p-values and columns are calibrated about as well as the champion's.

    Args:
        ours: Predictions of the challenger.
        theirs: Predictions of the champion.
        config: Margin and confidence.
    """
    rows = len(ours.scores)
    if ours.p_values is not None and theirs.p_values is not None:
        ks = [distances.ks_from_uniform(p) for p in (ours.p_values, theirs.p_values)]
        margin = config.calibration_margin + ks_quantile(rows, 1, config.confidence)
        yield _check_distance("p_values", "", ks, margin)
    elif theirs.p_values is not None:
        remark = "the challenger has no calibration rows, so no p-values"
        yield Check("p_values", 1.0, False, remark)
    worst = max(ours.ks, key=lambda name: ours.ks[name] - theirs.ks[name])
    label = f" of {worst}, the column that lost most"
    chance = ks_quantile(rows, len(ours.ks), config.confidence)
    margin = config.calibration_margin + chance
    yield _check_distance(
        "calibration", label, (ours.ks[worst], theirs.ks[worst]), margin
    )


def ks_quantile(rows: int, tests: int, confidence: float) -> float:
    """Return a bound on the largest of some KS distances of uniform samples.

    It holds with the given probability, by the Dvoretzky-Kiefer-Wolfowitz inequality
    with Massart's constant and a union bound.

    Args:
        rows: Size of each sample.
        tests: Number of samples.
        confidence: Probability that the bound holds.
    """
    return math.sqrt(math.log(2 * tests / (1 - confidence)) / (2 * rows))


def _check_distance(name: str, label: str, ks: Sequence[float], margin: float) -> Check:
    ours, theirs = ks
    remark = f"KS distance from uniform{label}: {ours:.4f}, the champion's {theirs:.4f}"
    return at_most(name, ours, theirs + margin, remark)
