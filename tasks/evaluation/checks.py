"""Checks with a verdict, as data validation and the promotion gate make them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from tasks.evaluation.metric_names import metric_name
from tasks.runtime import storage

VERDICT_FILE = "gate.json"
"""File, in the output directory of the promotion gate, that holds its verdict."""


@dataclass(frozen=True)
class Check:
    """The outcome of one test that a dataset or a model has to pass.

    Attributes:
        name: Name of the check, such as `rows` or `column/amount`.
        value: The measured value.
        passed: Whether the value is acceptable.
        remark: The outcome in words.
        interval: Confidence interval of the value, if it has one.
        bound: The number that the value, or its interval, was compared with.
        needs_review: Whether a failure asks for manual approval.
    """

    name: str
    value: float
    passed: bool
    remark: str
    interval: tuple[float, float] | None = None
    bound: float | None = None
    needs_review: bool = False


def at_most(name: str, value: float, bound: float, remark: str) -> Check:
    """Check that a value does not exceed a bound."""
    return Check(name, value, value <= bound, remark, bound=bound)


def at_least(
    name: str, value: float, bound: float, remark: str, *, needs_review: bool = False
) -> Check:
    """Check that a value reaches a bound."""
    passed = value >= bound
    return Check(name, value, passed, remark, bound=bound, needs_review=needs_review)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The conclusion of several checks.

    Attributes:
        passed: Whether the dataset or the model is accepted.
        needs_review: Whether a failed check asks for manual approval.
        reason: The remarks that decided.
        checks: All checks.
    """

    passed: bool
    needs_review: bool
    reason: str
    checks: tuple[Check, ...]


def conclude(checks: Sequence[Check]) -> Verdict:
    """Combine checks into a verdict that passes if every check passed."""
    passed = all(check.passed for check in checks)
    decisive = [
        check.remark
        for check in checks
        if (check.name == "improvement" if passed else not check.passed)
    ]
    return Verdict(
        passed=passed,
        needs_review=any(check.needs_review and not check.passed for check in checks),
        reason="; ".join(decisive) or "it is the first version",
        checks=tuple(checks),
    )


def read_checks(folder: str) -> tuple[Check, ...]:
    """Read the checks from the output directory of the promotion gate."""
    content = storage.read_json(storage.join(folder, VERDICT_FILE))
    return TypeAdapter(tuple[Check, ...]).validate_python(content["checks"])


def to_metrics(checks: Sequence[Check]) -> dict[str, float]:
    """Return the values of the gate's checks as MLflow metrics."""
    metrics: dict[str, float] = {}
    for check in checks:
        name = metric_name("gate", *check.name.split("/"))
        metrics[name] = float(check.value)
        metrics[f"{name}_passed"] = float(check.passed)
        if check.interval:
            low, high = check.interval
            metrics |= {f"{name}_low": low, f"{name}_high": high}
    return metrics


def to_table(checks: Sequence[Check]) -> list[dict[str, str]]:
    """Return checks as the rows of a table with text cells."""
    return [
        {
            "check": check.name,
            "passed": "yes" if check.passed else "no",
            "found": f"{check.value:.6g}",
            "interval": "{:+.4f} to {:+.4f}".format(*check.interval)
            if check.interval
            else "",
            "bound": "" if check.bound is None else f"{check.bound:g}",
            "remark": check.remark,
        }
        for check in checks
    ]
