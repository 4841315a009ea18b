"""Commands that apply a registered model to rows."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from flows.cli.execution import read_config, run_flow, run_job
from flows.cli.options import (
    ConfigFile,
    Input,
    Output,
    Overwrite,
    RunOptions,
    SectionOptions,
    VersionOptions,
    command,
)

PANEL = "Use a registered model"
"""Title of the help panel that lists these commands."""

app = typer.Typer(rich_markup_mode="markdown")


@dataclass(frozen=True)
class ScoreOptions(SectionOptions):
    """Options for the rows to score and their results."""

    section = "score"
    input: Input = None
    output: Output = None


@dataclass(frozen=True)
class AnomalyOptions:
    """Options that define which rows are anomalies; only one of them may be given."""

    threshold: Annotated[
        float | None,
        typer.Option(
            help="Severity from which a row is an anomaly: a percentile of the "
            "calibration set, such as 99.9."
        ),
    ] = None
    fdr: Annotated[
        float | None,
        typer.Option(
            help="False discovery rate, in place of a threshold: the expected share of "
            "false alarms among the anomalies."
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="Number of anomalies, in place of a threshold: a count, or a share of "
            "the rows if below 1.",
        ),
    ] = None

    def changes(self) -> list[str]:
        """Return the rule as values of `--set`, empty if no option is given."""
        rule = asdict(self)
        if not any(value is not None for value in rule.values()):
            return []
        return [f"score.{k}={'null' if v is None else v}" for k, v in rule.items()]


@dataclass(frozen=True)
class MonitorOptions(SectionOptions):
    """Options for the rows to monitor and their results."""

    section = "monitor"
    input: Input = None
    output: Output = None


@dataclass(frozen=True)
class SampleOptions(SectionOptions):
    """Options for drawing synthetic rows."""

    section = "sample"
    rows: Annotated[int | None, typer.Option(min=1, help="Number of rows to draw.")] = (
        None
    )
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None
    given: Annotated[
        str | None,
        typer.Option(help="Dataset with known columns, whose rows are completed."),
    ] = None
    samples_per_row: Annotated[
        int | None, typer.Option(min=1, help="Number of completions per given row.")
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(help="Temperature; below 1, likely values become more likely."),
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Probability mass of the most likely values to draw from (nucleus "
            "sampling)."
        ),
    ] = None
    output: Output = None


@dataclass(frozen=True)
class ImputeOptions(SectionOptions):
    """Options for filling nulls."""

    section = "impute"
    input: Input = None
    method: Annotated[
        str | None,
        typer.Option(
            help="Imputation method: draw, median or mean; for median and mean, "
            "categories use the mode."
        ),
    ] = None
    imputations: Annotated[
        int | None, typer.Option(min=1, help="Number of imputations per row.")
    ] = None
    details: Annotated[
        bool | None,
        typer.Option(
            "--details",
            help="Write which cells were filled, and the probability or interval of "
            "their values.",
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Random seed of the draws.")] = None
    output: Output = None


@dataclass(frozen=True)
class EmbedOptions(SectionOptions):
    """Options for the rows to embed and their results."""

    section = "embed"
    input: Input = None
    output: Output = None


@command(app, panel=PANEL, example="chainrule score orders.yaml --budget 100")
def score(
    file: ConfigFile,
    options: ScoreOptions,
    rule: AnomalyOptions,
    version: VersionOptions,
    *,
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental",
            help="Score partition by partition, and only partitions that are new to "
            "the version or have changed.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    run: RunOptions,
) -> None:
    """Write each row's log-probability, p-value, severity and explanation.

    One of --threshold, --fdr and --budget defines which rows are anomalies, in place of
    the rule in the configuration; the model stays the same.
    """
    if incremental and overwrite:
        raise typer.BadParameter(
            "--overwrite cannot be combined with --incremental, which keeps the "
            "partitions that are already scored"
        )
    run = rule_applied(run, rule)
    overrides = options.overrides()
    if incremental:
        run_flow("backfill", file, run, overrides, **version.parameters())
    run_flow("score", file, run, overrides, overwrite=overwrite, **version.parameters())


def rule_applied(run: RunOptions, rule: AnomalyOptions) -> RunOptions:
    """Return run options that also set the rule for anomalies, after any `--set`."""
    values: dict[str, Any] = asdict(run)
    values["changes"] = [*(run.changes or ()), *rule.changes()]
    return RunOptions(**values)


@command(app, panel=PANEL, example="chainrule backfill orders.yaml --since 2026-01-15")
def backfill(
    file: ConfigFile,
    options: ScoreOptions,
    version: VersionOptions,
    *,
    since: Annotated[
        str | None,
        typer.Option(help="First partition to score, such as 2026-01-15 or 2026-01."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Last partition to score; 2026-01 includes all of January."),
    ] = None,
    run: RunOptions,
) -> None:
    """Score a range of partitions one by one; those that are done are skipped.

    A partition is a Hive folder such as day=2026-01-15, or a file where there are none.
    """
    run_flow(
        "backfill",
        file,
        run,
        options.overrides(),
        since=since,
        until=until,
        **version.parameters(),
    )


@command(app, panel=PANEL, example="chainrule monitor orders.yaml --input data/latest")
def monitor(
    file: ConfigFile,
    options: MonitorOptions,
    version: VersionOptions,
    *,
    overwrite: Overwrite = False,
    run: RunOptions,
) -> None:
    """Test whether new rows have drifted from the reference data of the model.

    Compares the log-probability of rows, the distribution of each column, and the
    distribution of each column given those before it. Exit code 3: the rows have
    drifted by more than the section `monitor` of the configuration allows.
    """
    run_flow(
        "monitor",
        file,
        run,
        options.overrides(),
        overwrite=overwrite,
        **version.parameters(),
    )


@command(app, panel=PANEL, example="chainrule sample orders.yaml --rows 1000 --seed 1")
def sample(
    file: ConfigFile,
    options: SampleOptions,
    version: VersionOptions,
    *,
    overwrite: Overwrite = False,
    run: RunOptions,
) -> None:
    """Write synthetic rows with the original columns and types.

    With --given, each row of that dataset is completed: its nulls, and the columns that
    it lacks, are drawn given the other values. In the columns that
    `sample.null_is_missing` lists, a null is itself a known value.
    """
    run_flow(
        "sample",
        file,
        run,
        options.overrides(),
        overwrite=overwrite,
        **version.parameters(),
    )


@command(app, panel=PANEL, example="chainrule impute orders.yaml --imputations 5")
def impute(
    file: ConfigFile,
    options: ImputeOptions,
    version: VersionOptions,
    *,
    overwrite: Overwrite = False,
    run: RunOptions,
) -> None:
    """Fill the nulls of a dataset, given the other values of each row.

    The model must be able to condition on any columns: family eonade, or family
    transformer with `order_agnostic: true`.
    """
    run_flow(
        "impute",
        file,
        run,
        options.overrides(),
        overwrite=overwrite,
        **version.parameters(),
    )


@command(app, panel=PANEL, example="chainrule embed orders.yaml --output features/")
def embed(
    file: ConfigFile,
    options: EmbedOptions,
    version: VersionOptions,
    *,
    overwrite: Overwrite = False,
    run: RunOptions,
) -> None:
    """Write the model's features of each row, as inputs for other models."""
    run_flow(
        "embed",
        file,
        run,
        options.overrides(),
        overwrite=overwrite,
        **version.parameters(),
    )


@command(app, panel=PANEL, example="chainrule export orders.yaml --output model.onnx")
def export(
    file: ConfigFile,
    version: VersionOptions,
    output: Annotated[str, typer.Option(help="Path of the ONNX file, local or on S3.")],
    run: RunOptions,
) -> None:
    """Write a registered version as ONNX, to score encoded rows without torch.

    The file is written only if onnxruntime reproduces the model's log-probabilities.
    Some model families cannot be exported. Requires `pip install 'chainrule[onnx]'`.
    """
    parameters = version.parameters()

    def job(config: Any, console: Any) -> Any:  # as execution.Job
        from flows import batch
        from flows.cli import formatting

        outcome = batch.export(config, output, **parameters)
        return outcome, formatting.describe(outcome)

    run_job("export", read_config(file, run, {}), job, run)
