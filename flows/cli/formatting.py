"""Describe outcomes as text with rich markup: a paragraph for each step."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from flows.deploy.deployments import DeployOutcome
from flows.outcomes import Outcome, RetrainOutcome
from tasks.data.prepare import PrepareResult
from tasks.evaluation.checks import Verdict
from tasks.evaluation.compare import ComparisonResult
from tasks.evaluation.evaluate import EvaluationResult
from tasks.evaluation.fidelity.fidelity import FidelityResult
from tasks.inference.backfill import BackfillResult
from tasks.inference.embed import EmbedResult
from tasks.inference.export import ExportResult
from tasks.inference.impute import ImputeResult
from tasks.inference.sample import SampleResult
from tasks.inference.score import AnomalousRow, ScoreResult
from tasks.monitoring.monitor import MonitorResult
from tasks.registry.data_validation import ValidationResult
from tasks.registry.gate.gate import GateResult
from tasks.registry.promotion import AliasState, Promotion
from tasks.training.train import TrainResult

MAX_REASONS = 8
"""Maximum number of reasons for drift that are shown; the HTML page has all."""

MAX_NAMES = 5
"""Maximum number of names in a list that are shown."""

INDENT = " " * 11
"""Indentation of the lines below the first line of a step."""


def describe(outcome: Outcome) -> str:
    """Return a paragraph for each step of a flow that ran."""
    lines: list[str] = []
    for field in dataclasses.fields(outcome):
        step = getattr(outcome, field.name)
        if step is not None and field.name in DESCRIPTIONS:
            lines += DESCRIPTIONS[field.name](step)
    if isinstance(outcome, RetrainOutcome) and outcome.unchanged:
        lines.append(
            "[green]nothing new[/]: data and configuration are the same as before, so "
            "all steps were skipped"
        )
    return "\n".join(lines)


def head(step: str, text: str) -> str:
    """Return the first line of a step."""
    return f"[bold]{step:<10}[/] {text}"


def path_line(path: str) -> str:
    """Return a line with a path."""
    return INDENT + escape(path)


def describe_prepare(step: PrepareResult) -> Iterator[str]:
    """Yield the rows per split, excluded columns and quarantined rows."""
    counts = ", ".join(f"{count:,} {split}" for split, count in step.rows.items())
    rows = sum(step.rows.values())
    yield head("prepare", f"{rows:,} rows: {counts}; {pace(step)}")
    left_out = [name for name, kind in step.columns.items() if kind == "left out"]
    if left_out:
        yield f"{INDENT}not modelled: {escape(', '.join(left_out))}"
    if step.rows_quarantined or step.bad_files:
        yield (
            f"{INDENT}[yellow]in quarantine: {step.rows_quarantined:,} rows, "
            f"{len(step.bad_files)} files[/]"
        )
    yield path_line(step.path)


def describe_validation(step: ValidationResult) -> Iterator[str]:
    """Yield whether the data passed validation, and the checks that failed."""
    if step.valid:
        yield head("data", escape(step.reason))
        return
    yield head("data", "[yellow]data validation failed[/]")
    yield from failed_checks(step)
    if not step.passed:
        yield (
            f"{INDENT}no model was trained; to train in spite of it, use "
            "[bold]--set data_validation.on_failure=warn[/]"
        )


def failed_checks(step: Verdict) -> Iterator[str]:
    """Yield a line for each check that failed."""
    for check in step.checks:
        if not check.passed:
            text = escape(f"{check.name}: {check.remark}")
            yield f"{INDENT}[yellow]{text}[/]"


def describe_train(step: TrainResult) -> Iterator[str]:
    """Yield the number of epochs and the validation NLL."""
    yield head(
        "train",
        f"{step.epochs} epochs, validation NLL {step.valid_nll:.4f} nats per row; "
        f"{pace(step)}",
    )
    if start := step.warm_start:
        yield (
            f"{INDENT}started from the champion, on {start.new_rows:,} new rows and "
            f"{start.old_rows:,} of its {start.available_old_rows:,} rows"
        )
    yield path_line(step.path)


def describe_evaluate(step: EvaluationResult) -> Iterator[str]:
    """Yield the test NLL beside that of independent columns."""
    metrics = step.metrics
    yield head(
        "evaluate",
        f"test NLL [bold]{metrics['test/nll']:.4f}[/] nats per row, independent "
        f"columns {metrics['test/independent_nll']:.4f}: "
        f"[bold]{gain(metrics['test/gain'], 4)}[/]; {pace(step)}",
    )
    yield path_line(step.path)


def describe_fidelity(step: FidelityResult) -> Iterator[str]:
    """Yield the metrics of synthetic rows."""
    metrics = ", ".join(
        f"{name.removeprefix('samples/').replace('_', ' ')} {value:.3f}"
        for name, value in step.metrics.items()
    )
    rows = step.rows.synthetic
    yield head("fidelity", f"{rows:,} rows: {escape(metrics)}; {pace(step)}")
    yield path_line(step.page)


def describe_gate(step: GateResult) -> Iterator[str]:
    """Yield the number of checks of the gate, and the checks that failed."""
    checks = len(step.checks)
    yield head("gate", f"{checks} checks on {step.rows:,} held-out rows; {pace(step)}")
    yield from failed_checks(step)


def describe_report(path: str) -> Iterator[str]:
    """Yield the path of the report."""
    yield head("report", escape(path))


def describe_register(step: Promotion) -> Iterator[str]:
    """Yield the alias of the new version and the reason for it."""
    colour = "green" if step.promoted else "yellow"
    alias = step.alias or "refused"
    yield head(
        "register",
        f"{escape(step.uri)} is [{colour}]{alias}[/]: {escape(step.reason)}",
    )
    if step.needs_review:
        _, name, number = step.uri.split("/")
        yield (
            f"{INDENT}needs manual approval: "
            f"[bold]chainrule promote {escape(name)} {number} --reason ...[/]"
        )


def describe_score(step: ScoreResult) -> Iterator[str]:
    """Yield the number of anomalies, and the most anomalous rows."""
    yield head(
        "score",
        f"{step.rows_out:,} rows, {step.anomalies:,} anomalies "
        f"({rule(step.rule)}), {step.rows_quarantined:,} in quarantine; "
        f"{pace(step)}",
    )
    yield path_line(step.path)
    small = [segment["value"] for segment in step.segments if not segment["own"]]
    if small:
        yield (
            f"{INDENT}[yellow]too few calibration rows of their own, so calibrated on "
            f"all: {escape(listed(small))}[/]"
        )
    for number, row in enumerate(step.most_anomalous, start=1):
        yield f"  {number}. {escape(row_name(row))}"
        for text in explanation(row, {}):
            yield f"     {text}"


def describe_backfill(step: BackfillResult) -> Iterator[str]:
    """Yield the number of partitions that were scored, and their range."""
    yield head(
        "backfill",
        f"{len(step.scored)} of {step.partitions} partitions were new: "
        f"{step.rows_out:,} rows, {step.anomalies:,} anomalies, "
        f"{step.rows_quarantined:,} in quarantine; {pace(step)}",
    )
    if step.scored:
        first, last = escape(step.scored[0]), escape(step.scored[-1])
        yield INDENT + (first if first == last else f"{first} to {last}")
    yield path_line(step.path)


def describe_monitor(step: MonitorResult) -> Iterator[str]:
    """Yield the verdict on drift, and the reasons for it."""
    colour = {"drift": "red", "stable": "green"}.get(step.verdict, "yellow")
    yield head(
        "monitor",
        f"{step.rows_out:,} rows: [{colour}]{step.verdict}[/], "
        f"{step.rows_quarantined:,} in quarantine; {pace(step)}",
    )
    for reason in step.reasons[:MAX_REASONS]:
        yield INDENT + escape(reason)
    if len(step.reasons) > MAX_REASONS:
        yield f"{INDENT}and {len(step.reasons) - MAX_REASONS} more"
    for text in (step.remedy, step.caution):
        if text:
            yield INDENT + escape(text)
    yield path_line(step.page)


def describe_compare(step: ComparisonResult) -> Iterator[str]:
    """Yield the NLL of both models and the interval of the difference."""
    low, high = step.difference_interval
    first, second = step.nll
    yield head(
        "compare",
        f"{step.rows_out:,} rows: NLL {first:.4f} and {second:.4f} nats per row; "
        f"the first model is [bold]{gain(step.difference, 4)}[/] ({low:+.4f} to "
        f"{high:+.4f}); {pace(step)}",
    )
    yield path_line(step.page)


def describe_sample(step: SampleResult) -> Iterator[str]:
    """Yield the number of synthetic rows."""
    yield head("sample", f"{step.rows_out:,} rows; {pace(step)}")
    yield path_line(step.path)


def describe_embed(step: EmbedResult) -> Iterator[str]:
    """Yield the number of rows and features."""
    yield head(
        "embed",
        f"{step.rows_out:,} rows, {step.features:,} features, "
        f"{step.rows_quarantined:,} in quarantine; {pace(step)}",
    )
    yield path_line(step.path)


def describe_impute(step: ImputeResult) -> Iterator[str]:
    """Yield the number of filled cells per column, and of cells left null."""
    cells = sum(step.filled.values())
    yield head(
        "impute", f"{step.rows_out:,} rows, {cells:,} cells filled; {pace(step)}"
    )
    for columns, note in ((step.filled, ""), (step.left, " (not modelled, left null)")):
        counts = ", ".join(f"{name} {count:,}" for name, count in columns.items())
        if counts:
            yield f"{INDENT}{escape(counts)}{note}"
    yield path_line(step.path)


def describe_export(step: ExportResult) -> Iterator[str]:
    """Yield the size of the ONNX file and how exactly it reproduces the model."""
    yield head("export", f"{escape(step.path)}, {step.bytes:,} bytes")
    yield (
        f"{INDENT}log-probabilities of {step.rows} rows by onnxruntime differ by at "
        f"most {step.max_difference:.1e} nats"
    )


DESCRIPTIONS: dict[str, Callable[[Any], Iterator[str]]] = {
    "prepare": describe_prepare,
    "data_validation": describe_validation,
    "train": describe_train,
    "evaluate": describe_evaluate,
    "fidelity": describe_fidelity,
    "gate": describe_gate,
    "report": describe_report,
    "register": describe_register,
    "score": describe_score,
    "backfill": describe_backfill,
    "monitor": describe_monitor,
    "compare": describe_compare,
    "sample": describe_sample,
    "embed": describe_embed,
    "impute": describe_impute,
    "export": describe_export,
}
"""Functions that describe a step, by the field of the outcome that holds its result."""


def describe_aliases(moved: AliasState) -> str:
    """Return which versions are champion and previous after a promotion or rollback."""
    uri = f"models:/{escape(moved.name)}/"
    lines = [f"{uri}{moved.champion} is [green]champion[/]"]
    if moved.done:
        lines[0] += ", unchanged"
    if moved.previous is not None:
        lines.append(f"{uri}{moved.previous} is previous")
    if moved.rolled_back is not None:
        lines.append(
            f"{uri}{moved.rolled_back} was rolled back; only "
            "[bold]chainrule promote[/] makes it champion again"
        )
    return "\n".join(lines)


def describe_changes(outcome: DeployOutcome) -> str:
    """Return the changes to the Prefect server, made or only listed."""
    colours = {"create": "green", "update": "yellow", "delete": "red"}
    lines = []
    for change in outcome.changes:
        colour = colours.get(change.change, "dim")
        fields = f" ({', '.join(change.fields)})" if change.fields else ""
        lines.append(
            f"[{colour}]{change.change:<10}[/]{change.kind} {escape(change.name)}"
            f"{escape(fields)}"
        )
    if outcome.dry_run:
        lines.append("dry run: nothing was changed")
    elif outcome.pool is not None:
        pool = escape(outcome.pool)
        lines.append(f"start a worker: [bold]prefect worker start --pool {pool}[/]")
    return "\n".join(lines or ["no deployments exist"])


def gain(nats: float, digits: int) -> str:
    """Return a difference in mean log-likelihood as `N nats better` or `worse`."""
    return f"{abs(nats):.{digits}f} nats {'better' if nats >= 0 else 'worse'}"


def rule(anomaly_rule: Mapping[str, float]) -> str:
    """Return which rows a rule calls anomalies.

    Args:
        anomaly_rule: One of `threshold`, `fdr` and `budget` with its value.
    """
    ((kind, value),) = anomaly_rule.items()
    if kind == "threshold":
        return f"severity at least {value:g}"
    if kind == "fdr":
        return f"q-value at most {value:g}"
    share = f"{value:,.0f}" if value >= 1 else f"{100 * value:g} %"
    return f"the most anomalous {share}"


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = len(names) - MAX_NAMES
    text = ", ".join(names[:MAX_NAMES])
    return f"{text} and {more} more" if more > 0 else text


def pace(step: Any) -> str:  # the result of any task
    """Return how long a step took and its rows per second, or `already done`."""
    content = vars(step)
    if content["done"]:
        return "[green]already done[/]"
    seconds = f"{content['seconds']:.1f} s"
    if "rows_per_s" in content:
        return f"{seconds}, {content['rows_per_s']:,.0f} rows/s"
    return seconds


def row_name(row: AnomalousRow) -> str:
    """Return the id columns of a row, or its place in the dataset if it has none."""
    ids = ", ".join(f"{name}={value}" for name, value in row.ids.items())
    return ids or f"row {row.row} of {row.source}"


def explanation(row: AnomalousRow, labels: Mapping[str, str]) -> list[str]:
    """Return a line for each column that makes a row anomalous.

    Args:
        row: The row with its explanation, largest contribution first.
        labels: Names of columns for readers; others keep their own name.
    """
    return [
        f"{escape(labels.get(each['column'], each['column']))} was "
        f"[bold]{escape(str(each['value']))}[/], "
        f"expected {escape(str(each['expected']))} ({each['contribution']:+.1f} nats)"
        for each in row.explanation or ()
    ]
