"""Checks with a verdict, as data validation and the promotion gate make them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.evaluation.metric_names import metric_name
from tasks.runtime import storage

VERDICT_FILE = "gate.json"
"""File, in the output directory of the promotion gate, that holds its verdict."""

Json = dict[str, Any]  # JSON values


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
        needs_review: Whether a failure has to be reviewed by a person.
    """

    name: str
    value: float
    passed: bool
    remark: str
    interval: tuple[float, float] | None = None
    bound: float | None = None
    needs_review: bool = False


def conclude(checks: Sequence[Check]) -> Json:
    """Combine checks into a verdict that passes if every check passed.

    Returns:
        `passed`, `needs_review` (whether a failed check asks for manual approval),
        `reason` (the remarks that decided) and `checks` (as dicts).
    """
    passed = all(check.passed for check in checks)
    decisive = [
        check.remark
        for check in checks
        if (check.name == "improvement" if passed else not check.passed)
    ]
    return {
        "passed": passed,
        "needs_review": any(
            check.needs_review and not check.passed for check in checks
        ),
        "reason": "; ".join(decisive) or "it is the first version",
        "checks": [asdict(check) for check in checks],
    }


def read_checks(folder: str) -> list[Json]:
    """Read the checks from the output directory of the promotion gate, as dicts."""
    content: Json = storage.read_json(storage.join(folder, VERDICT_FILE))
    found: list[Json] = content["checks"]
    return found


def to_metrics(checks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the values of the gate's checks, given as dicts, as MLflow metrics."""
    metrics: dict[str, float] = {}
    for check in checks:
        name = metric_name("gate", *check["name"].split("/"))
        metrics[name] = float(check["value"])
        metrics[f"{name}_passed"] = float(check["passed"])
        if check["interval"]:
            low, high = check["interval"]
            metrics |= {f"{name}_low": low, f"{name}_high": high}
    return metrics


def to_table(checks: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return checks, given as dicts, as the rows of a table with text cells."""
    return [
        {
            "check": check["name"],
            "passed": "yes" if check["passed"] else "no",
            "found": f"{check['value']:.6g}",
            "interval": "{:+.4f} to {:+.4f}".format(*check["interval"])
            if check["interval"]
            else "",
            "bound": "" if check["bound"] is None else f"{check['bound']:g}",
            "remark": check["remark"],
        }
        for check in checks
    ]
