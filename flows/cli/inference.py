"""Commands that apply a registered model to rows."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from flows.cli.execution import read_config, run_flow, run_job
from flows.cli.options import (
    ConfigFile,
    FlowOptions,
    ModelJobOptions,
    Overrides,
    RunOptions,
    VersionOptions,
    command,
)
from tasks.config.score import RULES

PANEL = "Use a registered model"
"""Title of the help panel that lists these commands."""

app = typer.Typer(rich_markup_mode="markdown")


@command(
    app,
    *("score.input", "score.output", "score.threshold", "score.fdr", "score.budget"),
    panel=PANEL,
    example="chainrule score orders.yaml --budget 100",
)
def score(
    file: ConfigFile,
    overrides: Overrides,
    job: ModelJobOptions,
    *,
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental",
            help="Score partition by partition, and only partitions that are new to "
            "the version or have changed.",
        ),
    ] = False,
    run: FlowOptions,
) -> None:
    """Write each row's log-probability, p-value, severity and explanation.

    One of --threshold, --fdr and --budget defines which rows are anomalies, in place of
    the rule in the configuration; the model stays the same.
    """
    if incremental and job.overwrite:
        raise typer.BadParameter(
            "--overwrite cannot be combined with --incremental, which keeps the "
            "partitions that are already scored"
        )
    rules = [f"score.{rule}" for rule in RULES]
    if any(overrides[rule] is not None for rule in rules):
        unset = [f"{rule}=null" for rule in rules]
        run = replace(run, changes=[*(run.changes or ()), *unset])
    parameters = job.parameters()
    if incremental:
        del parameters["overwrite"]
    name = "backfill" if incremental else "score"
    run_flow(name, file, run, overrides, **parameters)


@command(
    app,
    *("score.input", "score.output"),
    panel=PANEL,
    example="chainrule backfill orders.yaml --since 2026-01-15",
)
def backfill(
    file: ConfigFile,
    overrides: Overrides,
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
    run: FlowOptions,
) -> None:
    """Score a range of partitions one by one; those that are done are skipped.

    A partition is a Hive folder such as day=2026-01-15, or a file where there are none.
    """
    limits = {"since": since, "until": until}
    run_flow("backfill", file, run, overrides, **limits, **version.parameters())


@command(
    app,
    *("monitor.input", "monitor.output", "monitor.by", "monitor.time"),
    panel=PANEL,
    example="chainrule monitor orders.yaml --input data/latest --by day",
)
def monitor(
    file: ConfigFile, overrides: Overrides, job: ModelJobOptions, run: FlowOptions
) -> None:
    """Test whether new rows have drifted from the reference data of the model.

    Compares the log-probability of rows, the distribution of each column, and the
    distribution of each column given those before it. Exit code 3: the rows have
    drifted by more than the section `monitor` of the configuration allows.
    """
    run_flow("monitor", file, run, overrides, **job.parameters())


@command(
    app,
    *(
        "sample.rows",
        "sample.seed",
        "sample.given",
        "sample.samples_per_row",
        "sample.temperature",
        "sample.top_p",
        "sample.output",
    ),
    panel=PANEL,
    example="chainrule sample orders.yaml --rows 1000 --seed 1",
)
def sample(
    file: ConfigFile, overrides: Overrides, job: ModelJobOptions, run: FlowOptions
) -> None:
    """Write synthetic rows with the original columns and types.

    With --given, each row of that dataset is completed: its nulls, and the columns that
    it lacks, are drawn given the other values. In the columns that
    `sample.null_is_missing` lists, a null is itself a known value.
    """
    run_flow("sample", file, run, overrides, **job.parameters())


@command(
    app,
    *(
        "impute.input",
        "impute.method",
        "impute.imputations",
        "impute.details",
        "impute.seed",
        "impute.output",
    ),
    panel=PANEL,
    example="chainrule impute orders.yaml --imputations 5",
)
def impute(
    file: ConfigFile, overrides: Overrides, job: ModelJobOptions, run: FlowOptions
) -> None:
    """Fill the nulls of a dataset, given the other values of each row.

    Every family except vae can do this: families that condition on any columns, such
    as eonade, in one pass, others by weighted draws.
    """
    run_flow("impute", file, run, overrides, **job.parameters())


@command(
    app,
    *("embed.input", "embed.output"),
    panel=PANEL,
    example="chainrule embed orders.yaml --output features/",
)
def embed(
    file: ConfigFile, overrides: Overrides, job: ModelJobOptions, run: FlowOptions
) -> None:
    """Write the model's features of each row, as inputs for other models."""
    run_flow("embed", file, run, overrides, **job.parameters())


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


@dataclass(frozen=True)
class QuestionOptions:
    """Options of questions and of how they are answered."""

    given: Annotated[
        str, typer.Option(help="Condition that is known to hold, as in SQL.")
    ] = ""
    questions: Annotated[
        str | None,
        typer.Option(
            help="Text file with one `PREDICATE given PREDICATE` per line, instead."
        ),
    ] = None
    output: Annotated[
        str | None, typer.Option(help="Parquet file for the answers.")
    ] = None
    draws: Annotated[
        int, typer.Option(min=64, help="Approximate number of draws per question.")
    ] = 4096
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0

    def check(self, predicate: str | None) -> None:
        """Raise typer.BadParameter if options contradict each other."""
        if (predicate is None) == (self.questions is None):
            raise typer.BadParameter("give either a PREDICATE or --questions")
        if self.questions is not None and self.given:
            raise typer.BadParameter("--given stands in each line of --questions")


@command(
    app,
    panel=PANEL,
    example='chainrule ask orders.yaml "amount >= 100" --given "country = \'NL\'"',
)
def ask(
    file: ConfigFile,
    predicate: Annotated[
        str | None, typer.Argument(metavar="PREDICATE", help="Condition, as in SQL.")
    ] = None,
    *,
    question: QuestionOptions,
    version: VersionOptions,
    run: RunOptions,
) -> None:
    """Print the probability that a row satisfies a predicate, given another one.

    Predicates compare columns with values by =, <>, <, >, in, between, like and is
    null, joined by and, or and not; texts stand in single quotes. Few combinations of
    categories are counted exactly, otherwise rows are drawn condition by condition, and
    the interval has the probability with 95 %.
    """
    question.check(predicate)
    parameters = version.parameters()

    def job(config: Any, console: Any) -> Any:  # as execution.Job
        from flows import batch
        from flows.cli import formatting
        from tasks.inference.ask import read_questions

        asked = [(predicate or "", question.given)]
        if question.questions is not None:
            asked = read_questions(question.questions)
        outcome = batch.ask(
            config,
            asked,
            question.output,
            draws=question.draws,
            seed=question.seed,
            **parameters,
        )
        return outcome, formatting.describe(outcome)

    run_job("ask", read_config(file, run, {}), job, run)
