"""The `chainrule` command.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 the gate refused the
challenger or new rows have drifted; 130 and 143 after Ctrl-C and SIGTERM. Heavy modules
are imported inside the commands, so that `--help` is there at once.
"""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from flows import lifetime
from flows.terminal import Terminal
from tasks import environment
from tasks.config import Config, Resources, load

EXPECTED = (ValueError, TypeError, OSError)
"""What tasks raise about the user's input and machine, with a message for the user."""

EXAMPLE = Path(__file__).parent.parent / "examples" / "flights.yaml"
"""The demo's configuration; it is there in a checkout."""

DONE, FAILED, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Learn the probability of every row of a Parquet dataset; then score, "
    "explain and sample with it.\n\n"
    "Start with **chainrule init DATA > my.yaml**, look through the file, then "
    "**chainrule retrain my.yaml**. **chainrule demo** shows all of it.",
)

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file; see --help-config.")
]
Data = Annotated[
    str | None, typer.Option(help="Dataset in place of data.path of the file.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any key: train.epochs=5; may be repeated."
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="CHAINRULE_STORAGE", help="Root of all results, local or s3://."
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Training processes.")]
Gpus = Annotated[int | None, typer.Option(min=0, help="GPUs of each of them.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks and all output of libraries.")
]
Version = Annotated[
    int | None,
    typer.Option("--model-version", min=1, help="A registered version."),
]
Alias = Annotated[
    str | None, typer.Option(help="The version with this alias; champion if none.")
]
Output = Annotated[str | None, typer.Option(help="Folder; below the storage if none.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what another job left in --output.")
]


def main() -> None:
    """Runs the command that the arguments name."""
    app(prog_name="chainrule")


@app.callback(invoke_without_command=True)
def options(
    help_config: Annotated[
        bool,
        typer.Option(
            "--help-config", help="Show every configuration key with its default."
        ),
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Show it.")] = False,
) -> None:
    """Answers what needs no command."""
    if help_config:
        from flows.keys import reference

        typer.echo(reference(), nl=False)
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("chainrule"))
    if help_config or version:
        raise typer.Exit(DONE)


Job = Callable[[Config, Terminal], dict[str, Any]]
"""Does the work of a command, says what came out and returns it, JSON-able."""


@app.command(rich_help_panel="From data to a model")
def init(
    data: Annotated[str, typer.Argument(help="Parquet file, folder, glob, s3://.")],
    name: Annotated[
        str | None, typer.Option(help="Of the model; from DATA if none.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Propose a configuration: prints a commented YAML file for DATA."""
    from flows import proposal

    terminal = Terminal()
    with failures(terminal, debug):
        typer.echo(proposal.propose(data, name), nl=False)


@app.command(rich_help_panel="From data to a model")
def retrain(
    file: ConfigFile,
    data: Data = None,
    storage: Storage = None,
    workers: Workers = None,
    gpus_per_worker: Gpus = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Prepare, train, evaluate, register; the better model becomes champion.

    What is already done is not done again. Exit code 3: the new model was not better
    than the champion, which stays.
    """
    given = {
        "data.path": data,
        "resources.storage": storage,
        "resources.workers": workers,
        "resources.gpus_per_worker": gpus_per_worker,
    }
    command("retrain", file, given, changes, as_json, debug)


@app.command(rich_help_panel="From data to a model")
def prepare(
    file: ConfigFile,
    data: Data = None,
    storage: Storage = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Read, check, split and encode the dataset."""
    given = {"data.path": data, "resources.storage": storage}
    command("prepare", file, given, changes, as_json, debug)


@app.command(rich_help_panel="From data to a model")
def train(
    file: ConfigFile,
    data: Data = None,
    storage: Storage = None,
    workers: Workers = None,
    gpus_per_worker: Gpus = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Prepare and train, and register nothing."""
    given = {
        "data.path": data,
        "resources.storage": storage,
        "resources.workers": workers,
        "resources.gpus_per_worker": gpus_per_worker,
    }
    command("train", file, given, changes, as_json, debug)


@app.command(rich_help_panel="From data to a model")
def evaluate(
    file: ConfigFile,
    data: Data = None,
    samples: Annotated[
        str | None,
        typer.Option(help="Dataset of synthetic rows to compare, or auto: drawn now."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Column to predict after learning from synthetic rows."),
    ] = None,
    storage: Storage = None,
    workers: Workers = None,
    gpus_per_worker: Gpus = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Prepare, train and judge on held-out rows, and register nothing.

    With --samples, synthetic rows are compared with train and test rows, too.
    """
    given = {
        "data.path": data,
        "fidelity.samples": samples,
        "fidelity.target": target,
        "resources.storage": storage,
        "resources.workers": workers,
        "resources.gpus_per_worker": gpus_per_worker,
    }
    command("evaluate", file, given, changes, as_json, debug)


@app.command(rich_help_panel="From data to a model")
def compare(
    file: ConfigFile,
    first: Annotated[str, typer.Argument(help="Number of a version, or an alias.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    input: Annotated[
        str | None, typer.Option(help="Rows to compare on; the test rows if none.")
    ] = None,
    data: Data = None,
    storage: Storage = None,
    changes: Set = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two registered versions on the same rows, also by segment."""
    given = {"data.path": data, "resources.storage": storage}
    command(
        "compare",
        file,
        given,
        changes,
        as_json,
        debug,
        first=first,
        second=second,
        input=input,
        overwrite=overwrite,
    )


@app.command(rich_help_panel="With the champion")
def score(
    file: ConfigFile,
    input: Annotated[
        str | None, typer.Option(help="Dataset to score; data.path if none.")
    ] = None,
    output: Output = None,
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental",
            help="Partition by partition, and only those that the champion has not "
            "scored as they are.",
        ),
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Severity from which a row is an anomaly.")
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(help="Or: the share of false alarms that is allowed."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Or: how many rows are anomalies, a count or a share."),
    ] = None,
    model_version: Version = None,
    alias: Alias = None,
    storage: Storage = None,
    changes: Set = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write each row's probability, p-value, severity and explanation.

    What counts as an anomaly is said by one of --threshold, --fdr and --budget, in
    place of what the configuration says; the model stays as it is.
    """
    rule = {"threshold": threshold, "fdr": fdr, "budget": budget}
    if any(value is not None for value in rule.values()):
        said = (f"score.{k}={'null' if v is None else v}" for k, v in rule.items())
        changes = [*(changes or ()), *said]
    given = {
        "score.input": input,
        "score.output": output,
        "resources.storage": storage,
    }
    if incremental:
        chosen = version(model_version, alias).get("version")
        command("backfill", file, given, changes, as_json, debug, model_version=chosen)
    more = {"overwrite": overwrite, **version(model_version, alias)}
    command("score", file, given, changes, as_json, debug, **more)


@app.command(rich_help_panel="With the champion")
def backfill(
    file: ConfigFile,
    since: Annotated[
        str | None, typer.Option(help="First partition, such as 2026-01-15 or 2026-01.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Last partition; 2026-01 takes all of January.")
    ] = None,
    model_version: Version = None,
    alias: Alias = None,
    input: Annotated[
        str | None, typer.Option(help="Dataset to score; data.path if none.")
    ] = None,
    output: Output = None,
    storage: Storage = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a range of partitions, one by one; those that are done are left alone.

    A partition is a hive folder such as day=2026-01-15, or a file where there are none.
    """
    given = {
        "score.input": input,
        "score.output": output,
        "resources.storage": storage,
    }
    command(
        "backfill",
        file,
        given,
        changes,
        as_json,
        debug,
        since=since,
        until=until,
        model_version=version(model_version, alias).get("version"),
    )


@app.command(rich_help_panel="With the champion")
def monitor(
    file: ConfigFile,
    input: Annotated[
        str | None, typer.Option(help="Dataset to look at; data.path if none.")
    ] = None,
    model_version: Version = None,
    alias: Alias = None,
    output: Output = None,
    storage: Storage = None,
    changes: Set = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare new rows with what the model learned.

    Looks at the log-probability of rows, at each column by itself, and at each column
    given those before it. Exit code 3: they have drifted, by more than the section
    monitor of the configuration allows.
    """
    given = {
        "monitor.input": input,
        "monitor.output": output,
        "resources.storage": storage,
    }
    command(
        "monitor",
        file,
        given,
        changes,
        as_json,
        debug,
        overwrite=overwrite,
        **version(model_version, alias),
    )


@app.command(rich_help_panel="With the champion")
def sample(
    file: ConfigFile,
    rows: Annotated[int | None, typer.Option(min=1, help="How many.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the random stream.")] = None,
    given: Annotated[
        str | None,
        typer.Option(help="Dataset of known columns, whose rows are completed."),
    ] = None,
    per_row: Annotated[
        int | None, typer.Option(min=1, help="Completions of each given row.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1 likely values become likelier.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest share only.")
    ] = None,
    output: Output = None,
    model_version: Version = None,
    alias: Alias = None,
    storage: Storage = None,
    changes: Set = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write synthetic rows with the original columns and types.

    With --given, each row of that dataset is completed: its nulls and the columns that
    it lacks are drawn, given the rest. In the columns sample.given_missing a null says
    that the value is missing.
    """
    keys = {
        "sample.rows": rows,
        "sample.seed": seed,
        "sample.given": given,
        "sample.per_row": per_row,
        "sample.temperature": temperature,
        "sample.top_p": top_p,
        "sample.output": output,
        "resources.storage": storage,
    }
    more = {"overwrite": overwrite, **version(model_version, alias)}
    command("sample", file, keys, changes, as_json, debug, **more)


@app.command(rich_help_panel="With the champion")
def impute(
    file: ConfigFile,
    input: Annotated[
        str | None, typer.Option(help="Dataset to fill; data.path if none.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="draw, median or mean; categories take the likeliest."),
    ] = None,
    imputations: Annotated[
        int | None, typer.Option(min=1, help="Times that every row is filled.")
    ] = None,
    details: Annotated[
        bool | None,
        typer.Option("--details", help="Say which cells were filled, how probably."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws.")] = None,
    output: Output = None,
    model_version: Version = None,
    alias: Alias = None,
    storage: Storage = None,
    changes: Set = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fill the nulls of a dataset, given the cells that hold a value.

    All other cells stay as they are. It needs a family that conditions on any columns:
    eonade, or transformer with order_agnostic: true.
    """
    given = {
        "impute.input": input,
        "impute.method": method,
        "impute.imputations": imputations,
        "impute.details": details,
        "impute.seed": seed,
        "impute.output": output,
        "resources.storage": storage,
    }
    more = {"overwrite": overwrite, **version(model_version, alias)}
    command("impute", file, given, changes, as_json, debug, **more)


@app.command(rich_help_panel="With the champion")
def embed(
    file: ConfigFile,
    input: Annotated[
        str | None, typer.Option(help="Dataset to embed; data.path if none.")
    ] = None,
    output: Output = None,
    model_version: Version = None,
    alias: Alias = None,
    storage: Storage = None,
    changes: Set = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write what the model makes of each row, as features for other models."""
    given = {
        "embed.input": input,
        "embed.output": output,
        "resources.storage": storage,
    }
    more = {"overwrite": overwrite, **version(model_version, alias)}
    command("embed", file, given, changes, as_json, debug, **more)


@app.command(rich_help_panel="Unattended")
def replay(
    file: ConfigFile,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions that a model learns from; all if none."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of each file; all if none.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Dataset in place of replay.path of the file.")
    ] = None,
    storage: Storage = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Replay a dataset's history: retrain and score partition by partition.

    Draws what retraining was worth, on rows that no model has seen. The model is
    registered as NAME-replay. A replay that was stopped goes on when it is given again.
    """

    def job(config: Config, terminal: Terminal) -> dict[str, Any]:
        from flows import replay

        return replay.run(config, terminal)

    given = {
        "replay.path": data,
        "replay.window": window,
        "replay.rows": rows,
        "resources.storage": storage,
    }
    config = read(file, given, changes, as_json)
    work("replay", config, job, as_json, debug)


@app.command(rich_help_panel="With the champion")
def export(
    file: ConfigFile,
    output: Annotated[str, typer.Option(help="The file to write, such as model.onnx.")],
    model_version: Version = None,
    alias: Alias = None,
    storage: Storage = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a version as ONNX, to score encoded rows without torch.

    onnxruntime has to give the model's numbers before anything is written. Families
    that cannot be exported are told. Needs pip install 'chainrule[onnx]'.
    """
    chosen = version(model_version, alias).get("version", "champion")

    def job(config: Config, terminal: Terminal) -> dict[str, Any]:
        from flows import export

        return export.run(config, terminal, output, chosen)

    config = read(file, {"resources.storage": storage}, changes, as_json)
    work("export", config, job, as_json, debug)


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]


@app.command(rich_help_panel="Unattended")
def deploy(
    file: ConfigFile,
    dry_run: DryRun = False,
    storage: Storage = None,
    changes: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make Prefect deployments of what stands under schedules in CONFIG.

    Repeated, it changes what has changed. A worker does the work:
    **prefect worker start --pool chainrule**.
    """

    def job(config: Config, terminal: Terminal) -> dict[str, Any]:
        from flows import deployments, words

        result = deployments.deploy(config, dry_run=dry_run)
        terminal.result({"status": "done", **result}, words.deployed(result))
        return result

    config = read(file, {"resources.storage": storage}, changes, as_json)
    work("deploy", config, job, as_json, debug)


@app.command(rich_help_panel="Unattended")
def undeploy(
    file: ConfigFile,
    dry_run: DryRun = False,
    storage: Storage = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Delete the Prefect deployments of CONFIG; results and models stay."""

    def job(config: Config, terminal: Terminal) -> dict[str, Any]:
        from flows import deployments, words

        result = deployments.undeploy(config.name, dry_run=dry_run)
        terminal.result({"status": "done", **result}, words.deployed(result))
        return result

    config = read(file, {"resources.storage": storage}, None, as_json)
    work("undeploy", config, job, as_json, debug)


ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Of the model.")]


@app.command(rich_help_panel="With the champion")
def promote(
    name: ModelName,
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    reason: Annotated[str, typer.Option(help="Recorded with the version.")],
    storage: Storage = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a version champion, whatever the gate said; who and why is recorded."""

    def move() -> dict[str, Any]:
        from tasks import register

        return register.override(name, version, reason)

    registry("promote", move, storage, as_json, debug)


@app.command(rich_help_panel="With the champion")
def rollback(
    name: ModelName,
    reason: Annotated[
        str, typer.Option(help="Recorded with the version.")
    ] = "no reason was given",
    storage: Storage = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the previous champion the champion again.

    The version that was champion does not come back by itself; promote it to have it
    back.
    """

    def move() -> dict[str, Any]:
        from tasks import register

        return register.rollback(name, reason)

    registry("rollback", move, storage, as_json, debug)


@app.command(rich_help_panel="What there is")
def status(
    storage: Storage = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]", help="A model, or a file of results; all if none."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show versions and results, or what a file of results was made by and from."""
    from flows import overview

    terminal = Terminal(as_json=as_json)
    root = storage or default_storage()
    with failures(terminal, debug), terminal.open_log(log_file(root, "status"), debug):
        environment.configure(root)
        if name is not None and re.search(r"[/.]", name):  # no name of a model
            content = overview.lineage(name)
            terminal.result(content, overview.lineage_text(content))
            return
        content = overview.collect(root, name)
        terminal.result(content, overview.text(content))


@app.command(rich_help_panel="What there is")
def ui(storage: Storage = None, debug: Debug = False) -> None:
    """Serve the pages of Prefect and MLflow until Ctrl-C."""
    raise_unless_supervised()
    from flows import pages

    terminal = Terminal()
    root = storage or default_storage()
    with failures(terminal, debug), terminal.open_log(log_file(root, "ui"), debug):
        environment.configure(root)
        pages.serve(terminal)


@app.command(rich_help_panel="What there is")
def demo(storage: Storage = None, as_json: Json = False, debug: Debug = False) -> None:
    """Retrain, score and sample the New York flights of 2013: all in one go."""

    def job(config: Config, terminal: Terminal) -> dict[str, Any]:
        from flows import demo

        return demo.run(config, terminal)

    root = storage or default_storage()
    months = f"{root.rstrip('/')}/demo/flights/month="
    changes = {
        "data.path": f"{months}[1-9]",
        "score.input": f"{months}1[0-2]",
        "resources.storage": root,
    }
    terminal = Terminal(as_json=as_json)
    with failures(terminal, debug):
        config = load(EXAMPLE, changes)
    work("demo", config, job, as_json, debug)


def command(
    name: str,
    file: Path,
    given: Mapping[str, Any],
    changes: list[str] | None,
    as_json: bool,
    debug: bool,
    **parameters: Any,
) -> NoReturn:
    """Runs the flow `name` with the configuration in `file`, as changed by flags."""
    config = read(file, given, changes, as_json)

    def job(config: Config, terminal: Terminal) -> dict[str, Any]:
        from flows import jobs

        shown: dict[str, Any] = jobs.show(name, config, terminal, **parameters)
        return shown

    work(name, config, job, as_json, debug)


def read(
    file: Path, given: Mapping[str, Any], changes: list[str] | None, as_json: bool
) -> Config:
    """The configuration in `file`, as changed by flags; ends where it is bad."""
    try:
        return load(file, overrides(given, changes))
    except (OSError, ValueError) as error:
        Terminal(as_json=as_json).fail(message(error))
        raise typer.Exit(USAGE) from error


def registry(
    what: str,
    move: Callable[[], dict[str, Any]],
    storage: str | None,
    as_json: bool,
    debug: bool,
) -> None:
    """Moves aliases in the registry and says where they are now."""
    from flows import words

    terminal = Terminal(as_json=as_json)
    root = storage or default_storage()
    with failures(terminal, debug), terminal.open_log(log_file(root, what), debug):
        environment.configure(root)
        result = {"status": "done", **move()}
        terminal.result(result, words.moved(result))


def version(number: int | None, alias: str | None) -> dict[str, str]:
    """What --model-version and --alias say, as a parameter of a flow."""
    if number is not None and alias is not None:
        raise typer.BadParameter("say --model-version or --alias, not both")
    if number is None and alias is None:
        return {}
    return {"version": str(number) if alias is None else alias}


def overrides(
    given: Mapping[str, Any],  # values of the flags, None where not given
    changes: list[str] | None,
) -> dict[str, Any]:
    """The keys that the flags replace; flags with a name of their own win."""
    result = {}
    for change in changes or ():
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set needs KEY=VALUE, got {change!r}")
        result[key] = yaml.safe_load(value)
    return result | {key: value for key, value in given.items() if value is not None}


def work(name: str, config: Config, job: Job, as_json: bool, debug: bool) -> NoReturn:
    """Does a job in a supervised child of its own, and turns its end into a code."""
    raise_unless_supervised()
    terminal = Terminal(as_json=as_json)
    root = config.resources.storage
    with (
        failures(terminal, debug),
        terminal.open_log(log_file(root, f"{name}-{config.name}"), debug),
    ):
        environment.configure(root)
        result = job(config, terminal)
    refused = result.get("status") in ("refused", "drift")
    raise typer.Exit(REFUSED if refused else DONE)


def raise_unless_supervised() -> None:
    """Goes on in a supervised child only; elsewhere starts it and takes its code."""
    if not lifetime.is_supervised():
        raise typer.Exit(lifetime.supervise(sys.argv[1:]))


@contextmanager
def failures(terminal: Terminal, debug: bool) -> Iterator[None]:
    """Turns what goes wrong in the block into one message and an exit code."""
    try:
        yield
    except KeyboardInterrupt as error:
        terminal.fail("interrupted; the same command goes on from where it was")
        raise typer.Exit(INTERRUPTED) from error
    except typer.Exit:
        raise
    except Exception as error:
        # The last resort of a command: nothing is hidden, the log has all of it.
        if debug:
            raise
        told = message(error)
        if not isinstance(error, EXPECTED):
            told = f"unexpected {type(error).__name__}: {told}"
        terminal.fail(told, record(error, terminal.log))
        raise typer.Exit(FAILED) from error


def record(error: Exception, log: Path | None) -> Path | None:
    """Writes the traceback to the log; the log, if it could be written."""
    if log is None:
        return None
    try:
        with open(log, "a", encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return None  # No space, say: what the message is about already.
    return log


def message(error: Exception) -> str:
    """What an expected error says, in one line where it can be."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    what = f"{error.filename}: {(error.strerror or '').lower()}"
    remedy = {
        errno.ENOSPC: "; free some space, or name another --storage or --output",
        errno.EACCES: "; take a folder you may write to: --storage or --output",
        errno.EROFS: "; take a folder you may write to: --storage or --output",
    }.get(error.errno, "")
    return f"{what if error.filename else error}{remedy}"


def default_storage() -> str:
    """The root of results where no configuration and no flag names one."""
    return Resources().storage


def log_file(root: str, what: str) -> Path:
    """A new log file of a command, below the local state of `root`."""
    started = datetime.now().strftime("%Y%m%d-%H%M%S")
    return environment.local_root(root) / "logs" / f"{started}-{what}-{os.getpid()}.log"


if __name__ == "__main__":
    main()
