"""Describe outcomes as text with rich markup: a paragraph for each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.outcomes import Alert, Outcome, RetrainOutcome
from tasks.runtime.job import JobResult

if TYPE_CHECKING:
    from flows.deploy.deployments import DeployOutcome
    from tasks.data.prepare import PrepareResult
    from tasks.evaluation.checks import Verdict
    from tasks.evaluation.compare import ComparisonResult
    from tasks.evaluation.evaluate import EvaluationResult
    from tasks.evaluation.fidelity.fidelity import FidelityResult
    from tasks.inference.ask import AskResult
    from tasks.inference.backfill import BackfillResult
    from tasks.inference.embed import EmbedResult
    from tasks.inference.export import ExportResult
    from tasks.inference.impute import ImputeResult
    from tasks.inference.sample import SampleResult
    from tasks.inference.score import AnomalousRow, ScoreResult
    from tasks.monitoring.monitor import MonitorResult
    from tasks.registry.alias_state import AliasState
    from tasks.registry.data_validation import ValidationResult
    from tasks.registry.gate.gate import GateResult
    from tasks.registry.promotion import Promotion
    from tasks.training.recalibrate import RecalibrateResult
    from tasks.training.train import TrainResult
    from tasks.training.tuning import TuneResult

MAX_REASONS = 8
"""Maximum number of reasons for drift that are shown; the HTML page has all."""

MAX_PERIODS = 14
"""Maximum number of days, weeks or months that the result of `monitor` lists."""

MAX_NAMES = 5
"""Maximum number of names in a list that are shown."""

MAX_FINDINGS = 3
"""Maximum number of violated rules that are shown; the HTML page has more."""

TUNED = (
    *("family", "hidden", "layers", "components", "ordering", "dropout"),
    *("learning_rate", "batch_size", "weight_decay", "swap_noise"),
)
"""Settings of the best trial that are shown."""

INDENT = " " * 11
"""Indentation of the lines below the first line of a step."""


def describe(outcome: Outcome) -> str:
    """Return a paragraph for each step of a flow that ran.

    Its first line ends with the pace of the step, its last line is the path.
    """
    lines: list[str] = []
    for field in dataclasses.fields(outcome):
        step = getattr(outcome, field.name)
        if step is None or field.name not in DESCRIPTIONS:
            continue
        first, *more = DESCRIPTIONS[field.name](step)
        timed = isinstance(step, JobResult) or field.name == "backfill"
        end = f"; {pace(step)}" if timed else ""
        name = "data" if field.name == "data_validation" else field.name
        lines += [f"[bold]{name:<10}[/] {first}{end}", *(INDENT + m for m in more)]
        if end and field.name != "gate":
            lines.append(INDENT + escape(getattr(step, "page", step.path)))
        if field.name == "score":
            lines += anomalies(step.most_anomalous, row_name, {})
    lines += map(describe_alert, outcome.alerts)
    if isinstance(outcome, RetrainOutcome) and outcome.unchanged:
        lines.append(
            "[green]nothing new[/]: data and configuration are the same as before, so "
            "all steps were skipped"
        )
    return "\n".join(lines)


def describe_alert(alert: Alert) -> str:
    """Return which receiver got an alert, or why it did not."""
    name = f"[bold]{'alert':<10}[/] {escape(alert.receiver)}: "
    if alert.error is None:
        return name + escape(alert.message)
    return f"{name}[yellow]not sent[/]: {escape(alert.error)}"


def describe_missing(step: PrepareResult | ScoreResult) -> Iterator[str]:
    """Yield the columns that some files lack and that are null there."""
    if step.missing_columns:
        lacking = (
            f"{name} (null in {files:,} {'files' if files > 1 else 'file'})"
            for name, files in step.missing_columns.items()
        )
        yield f"[yellow]columns that some files lack: {escape(', '.join(lacking))}[/]"


def describe_prepare(step: PrepareResult) -> Iterator[str]:
    """Yield the rows per split, excluded columns and quarantined rows."""
    counts = ", ".join(f"{count:,} {split}" for split, count in step.rows.items())
    yield f"{sum(step.rows.values()):,} rows: {counts}"
    left_out = [name for name, kind in step.columns.items() if kind == "left out"]
    if left_out:
        yield f"not modelled: {escape(', '.join(left_out))}"
    yield from describe_missing(step)
    if step.rows_quarantined or step.bad_files:
        yield (
            f"[yellow]in quarantine: {step.rows_quarantined:,} rows, "
            f"{len(step.bad_files)} files[/]"
        )


def describe_validation(step: ValidationResult) -> Iterator[str]:
    """Yield whether the data passed validation, and the checks that failed."""
    yield escape(step.reason) if step.valid else "[yellow]data validation failed[/]"
    yield from failed_checks(step)
    if not step.passed:
        yield (
            "no model was trained; to train in spite of it, use "
            "[bold]--set data_validation.on_failure=warn[/]"
        )


def failed_checks(step: Verdict) -> Iterator[str]:
    """Yield a line for each check that failed."""
    for check in step.checks:
        if not check.passed:
            yield f"[yellow]{escape(f'{check.name}: {check.remark}')}[/]"


def describe_train(step: TrainResult) -> Iterator[str]:
    """Yield the number of epochs and the validation NLL."""
    yield f"{step.epochs} epochs, validation NLL {step.valid_nll:.4f} nats per row"
    if start := step.warm_start:
        yield (
            f"started from the champion, on {start.new_rows:,} new rows and "
            f"{start.old_rows:,} of its {start.available_old_rows:,} rows"
        )


def describe_calibrate(step: RecalibrateResult) -> Iterator[str]:
    """Yield the number of new calibration rows."""
    yield (
        f"{step.calibration_rows:,} calibration rows in place of "
        f"{step.replaced_rows:,}; the weights are the same"
    )


def describe_tune(step: TuneResult) -> Iterator[str]:
    """Yield the gain of the best trial, its settings and the command that uses them."""
    best = next(each for each in step.trials if each.number == step.best)
    minutes = step.trial_seconds / 60
    yield (
        f"{len(step.trials)} of {step.planned} trials, {minutes:.1f} minutes of "
        f"training; lowest validation NLL [bold]{step.valid_nll:.4f}[/] nats per row"
    )
    if step.best == 0:
        yield "no trial was better than the configuration itself"
        return
    yield f"trial {step.best}, [bold]{gain(step.gain, 4)}[/] than the configuration:"
    changed = best.settings["model"] | best.settings["train"]
    shown = (f"{key} {changed[key]}" for key in TUNED if key in changed)
    yield escape(", ".join(shown))
    yield f"use it by [bold]chainrule retrain {escape(step.config)}[/]"


def describe_evaluate(step: EvaluationResult) -> Iterator[str]:
    """Yield the test NLL beside that of independent columns."""
    metrics = step.metrics
    yield (
        f"test NLL [bold]{metrics['test/nll']:.4f}[/] nats per row, independent "
        f"columns {metrics['test/independent_nll']:.4f}: "
        f"[bold]{gain(metrics['test/gain'], 4)}[/]"
    )
    if step.p_value_fault:
        yield f"[red]{escape(step.p_value_fault)}[/]"


def describe_fidelity(step: FidelityResult) -> Iterator[str]:
    """Yield the metrics of synthetic rows, and the rules most often violated."""
    metrics = ", ".join(
        f"{name.removeprefix('samples/').replace('_', ' ')} {value:.3f}"
        for name, value in step.metrics.items()
    )
    yield f"{step.rows.synthetic:,} rows: {escape(metrics)}"
    for finding in step.findings[:MAX_FINDINGS]:
        yield escape(
            f"{', '.join(finding.columns)}: {100 * finding.synthetic:.1f} % of the "
            f"synthetic rows violate {finding.rule!r}, for example "
            f"{finding.examples[0]}"
        )


def describe_gate(step: GateResult) -> Iterator[str]:
    """Yield the number of checks of the gate, and the checks that failed."""
    yield f"{len(step.checks)} checks on {step.rows:,} held-out rows"
    yield from failed_checks(step)


def describe_register(step: Promotion) -> Iterator[str]:
    """Yield the alias of the new version and the reason for it."""
    colour = "green" if step.promoted else "yellow"
    alias = step.alias or "refused"
    yield f"{escape(step.uri)} is [{colour}]{alias}[/]: {escape(step.reason)}"
    if step.needs_review:
        _, name, number = step.uri.split("/")
        yield (
            "needs manual approval: "
            f"[bold]chainrule promote {escape(name)} {number} --reason ...[/]"
        )


def describe_score(step: ScoreResult) -> Iterator[str]:
    """Yield the number of anomalies, and the segments without a scale of their own."""
    yield (
        f"{step.rows_out:,} rows, {step.anomalies:,} anomalies ({rule(step.rule)}), "
        f"{step.rows_quarantined:,} in quarantine"
    )
    if step.p_value_fault:
        yield f"[red]when the model was trained, {escape(step.p_value_fault)}[/]"
    yield from describe_missing(step)
    small = [segment["value"] for segment in step.segments if not segment["own"]]
    if small:
        yield (
            "[yellow]too few calibration rows of their own, so calibrated on all: "
            f"{escape(listed(small))}[/]"
        )


def describe_backfill(step: BackfillResult) -> Iterator[str]:
    """Yield the number of partitions that were scored, and their range."""
    yield (
        f"{len(step.scored)} of {step.partitions} partitions were new: "
        f"{step.rows_out:,} rows, {step.anomalies:,} anomalies, "
        f"{step.rows_quarantined:,} in quarantine"
    )
    if step.scored:
        first, last = escape(step.scored[0]), escape(step.scored[-1])
        yield first if first == last else f"{first} to {last}"


def describe_monitor(step: MonitorResult) -> Iterator[str]:
    """Yield the verdict on drift, and the reasons for it."""
    colour = {"drift": "red", "stable": "green"}.get(step.verdict, "yellow")
    yield (
        f"{step.rows_out:,} rows: [{colour}]{step.verdict}[/], "
        f"{step.rows_quarantined:,} in quarantine"
    )
    yield from map(escape, step.reasons[:MAX_REASONS])
    if len(step.reasons) > MAX_REASONS:
        yield f"and {len(step.reasons) - MAX_REASONS} more"
    if len(step.periods) > MAX_PERIODS:
        yield f"the latest {MAX_PERIODS} of {len(step.periods)} periods:"
    yield from map(_describe_period, step.periods[-MAX_PERIODS:])
    yield from (escape(text) for text in (step.remedy, step.caution) if text)


def _describe_period(period: dict[str, Any]) -> str:
    """Return the rows, the verdict and the new categories of a period."""
    colour = {"drift": "red", "stable": "green"}.get(period["verdict"], "yellow")
    new = "; ".join(
        f"new {column}: {', '.join(values)}"
        for column, values in period["new_categories"].items()
    )
    text = (
        f"{period['period']}: {period['rows']:,} rows, [{colour}]{period['verdict']}[/]"
    )
    return text + (f"; {escape(new)}" if new else "")


def describe_compare(step: ComparisonResult) -> Iterator[str]:
    """Yield the NLL of both models and the interval of the difference."""
    low, high = step.difference_interval
    first, second = step.nll
    yield (
        f"{step.rows_out:,} rows: NLL {first:.4f} and {second:.4f} nats per row; "
        f"the first model is [bold]{gain(step.difference, 4)}[/] ({low:+.4f} to "
        f"{high:+.4f})"
    )


def describe_embed(step: EmbedResult) -> Iterator[str]:
    """Yield the number of rows and features."""
    yield (
        f"{step.rows_out:,} rows, {step.features:,} features, "
        f"{step.rows_quarantined:,} in quarantine"
    )


def describe_impute(step: ImputeResult) -> Iterator[str]:
    """Yield the number of filled cells per column, and of cells left null."""
    yield f"{step.rows_out:,} rows, {sum(step.filled.values()):,} cells filled"
    for columns, note in ((step.filled, ""), (step.left, " (left null)")):
        counts = ", ".join(f"{name} {count:,}" for name, count in columns.items())
        if counts:
            yield f"{escape(counts)}{note}"
    yield from describe_weighted(step)


def describe_sample(step: SampleResult) -> Iterator[str]:
    """Yield the number of rows, and how rare their categories are in training rows."""
    yield f"{step.rows_out:,} rows"
    if step.rare_cells:
        cells = ", ".join(f"{name} {n:,}" for name, n in step.rare_cells.items())
        yield (
            f"[yellow]values that fewer than 5 training rows share: {escape(cells)}[/]"
        )
    elif step.fewest_rows is not None:
        yield f"every category occurs in at least {step.fewest_rows:,} training rows"
    if step.new_keys:
        forms = ", ".join(f"{name} {form}" for name, form in step.new_keys.items())
        yield f"new values of columns that are not modelled: {escape(forms)}"
    yield from describe_weighted(step)


def describe_weighted(step: ImputeResult | SampleResult) -> Iterator[str]:
    """Yield the number of rows that were completed by few effective draws."""
    if step.few_effective:
        yield (
            f"[yellow]{step.few_effective:,} of {step.weighted:,} rows were completed "
            "from few effective draws, as their known values are improbable; "
            "model.family eonade completes them exactly[/]"
        )


def describe_export(step: ExportResult) -> Iterator[str]:
    """Yield the size of the ONNX file and how exactly it reproduces the model."""
    yield f"{escape(step.path)}, {step.bytes:,} bytes"
    yield (
        f"log-probabilities of {step.rows} rows by onnxruntime differ by at most "
        f"{step.max_difference:.1e} nats"
    )


def describe_ask(step: AskResult) -> Iterator[str]:
    """Yield the probability of each predicate, its interval and how it was found."""
    yield f"{len(step.answers):,} answers in {step.seconds:.1f} s"
    for each in step.answers:
        given = f" given {each.given}" if each.given else ""
        how = "exact"
        if each.effective is not None:
            how = (
                f"{each.low:.4g} to {each.high:.4g} with 95 %, "
                f"{each.effective:,.0f} effective draws"
            )
        yield (
            f"[bold]{each.probability:.4g}[/] ({how}): {escape(each.predicate + given)}"
        )
    if step.path is not None:
        yield escape(step.path)


DESCRIPTIONS: dict[str, Callable[[Any], Iterator[str]]] = {
    "prepare": describe_prepare,
    "data_validation": describe_validation,
    "train": describe_train,
    "tune": describe_tune,
    "calibrate": describe_calibrate,
    "evaluate": describe_evaluate,
    "fidelity": describe_fidelity,
    "gate": describe_gate,
    "report": lambda path: iter([escape(path)]),
    "register": describe_register,
    "score": describe_score,
    "backfill": describe_backfill,
    "monitor": describe_monitor,
    "compare": describe_compare,
    "sample": describe_sample,
    "embed": describe_embed,
    "impute": describe_impute,
    "export": describe_export,
    "ask": describe_ask,
}
"""Functions that yield the lines about a step, without its pace and path, by the field
of the outcome that holds its result."""


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


def pace(step: JobResult | BackfillResult) -> str:
    """Return how long a step took and its rows per second, or `already done`."""
    if step.done:
        return "[green]already done[/]"
    rate: float | None = getattr(step, "rows_per_s", None)
    return f"{step.seconds:.1f} s" + (f", {rate:,.0f} rows/s" if rate else "")


def anomalies(
    rows: Sequence[AnomalousRow],
    name: Callable[[AnomalousRow], str],
    labels: Mapping[str, str],
) -> list[str]:
    """Return lines on anomalous rows and the columns that explain them.

    Args:
        rows: The rows.
        name: Returns the name of a row for readers.
        labels: Names of columns for readers; others keep their own name.
    """
    lines = []
    for number, row in enumerate(rows, start=1):
        lines.append(f"  {number}. [bold]{escape(name(row))}[/]")
        lines += [f"     {text}" for text in explanation(row, labels)]
    return lines


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
