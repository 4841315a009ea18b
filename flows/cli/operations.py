"""Commands for unattended operation, for looking at results, and the demo."""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.console import CommandConsole
from flows.cli.execution import (
    ExitCode,
    default_storage,
    ensure_supervised,
    errors_reported,
    read_config,
    run_job,
    session,
)
from flows.cli.options import (
    CommonOptions,
    ConfigFile,
    DryRun,
    Overrides,
    RunOptions,
    command,
)
from tasks.config.load import load
from tasks.config.root import Config
from tasks.runtime import environment

PANEL = "Operate and inspect"
"""Title of the help panel that lists these commands."""

DEMO_CONFIG = Path(__file__).parents[2] / "examples" / "flights.yaml"
"""Configuration of the demo, which exists in a checkout only."""

app = typer.Typer(rich_markup_mode="markdown")


@command(app, panel=PANEL, example="chainrule deploy orders.yaml --dry-run")
def deploy(file: ConfigFile, *, dry_run: DryRun = False, run: RunOptions) -> None:
    """Create or update the Prefect deployments in the section `schedules` of CONFIG.

    A worker runs them: `prefect worker start --pool chainrule`.
    """

    def job(config: Config, console: CommandConsole) -> Any:  # as execution.Job
        from flows.cli import formatting
        from flows.deploy import deployments

        outcome = deployments.deploy(config, dry_run=dry_run)
        return outcome, formatting.describe_changes(outcome)

    run_job("deploy", read_config(file, run, {}), job, run)


@command(app, panel=PANEL, example="chainrule undeploy orders.yaml")
def undeploy(
    file: ConfigFile,
    *,
    dry_run: DryRun = False,
    common: CommonOptions,
) -> None:
    """Delete the Prefect deployments of CONFIG; results and models remain."""

    def job(config: Config, console: CommandConsole) -> Any:  # as execution.Job
        from flows.cli import formatting
        from flows.deploy import deployments

        outcome = deployments.undeploy(config.name, dry_run=dry_run)
        return outcome, formatting.describe_changes(outcome)

    run = RunOptions(common.storage, common.as_json, common.debug)
    run_job("undeploy", read_config(file, run, {}), job, run)


@command(
    app,
    *("replay.window", "replay.rows_per_file", "replay.path"),
    panel=PANEL,
    example="chainrule replay orders.yaml --window 6",
)
def replay(file: ConfigFile, overrides: Overrides, run: RunOptions) -> None:
    """Replay the history of a dataset: retrain and score partition by partition.

    Shows what retraining was worth, on rows that no model had seen. The model is
    registered as NAME-replay. A replay that was stopped continues when it is run again.
    """

    def job(config: Config, console: CommandConsole) -> Any:  # as execution.Job
        from flows.cli import replay_summary
        from flows.deploy import replay

        outcome = replay.run(
            config, lambda result: console.print_line(replay_summary.line(result))
        )
        return outcome, replay_summary.describe(outcome)

    run_job("replay", read_config(file, run, overrides), job, run)


@command(app, panel=PANEL, example="chainrule status orders")
def status(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="Name of a model, or path of a result; defaults to all models.",
        ),
    ] = None,
    common: CommonOptions,
) -> None:
    """List versions and results, or show which model and data a result came from."""
    from flows.cli import lineage, status

    root = default_storage(common)
    with session("status", root, common) as console:
        if name is not None and re.search(r"[/.]", name):  # not the name of a model
            source = lineage.find_lineage(name)
            console.print_result(source, lineage.describe(source))
        else:
            content = status.collect(root, name)
            console.print_result(content, status.describe(content))


@command(app, panel=PANEL, example="chainrule verify .chainrule/orders")
def verify(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Directory of results, with others below it, local or s3://.",
        ),
    ],
    *,
    common: CommonOptions,
) -> None:
    """Hash all files below PATH that a job has written, and name the damaged ones."""
    from flows.cli import verified
    from tasks.runtime.verification import verify as verify_files

    with session("verify", default_storage(common), common) as console:
        result = verify_files(path)
        console.print_result(dataclasses.asdict(result), verified.describe(result))
    if result.faults:
        raise typer.Exit(ExitCode.FAILED)


@command(app, panel=PANEL, example="chainrule doctor orders.yaml")
def doctor(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="YAML file with the configuration, whose storage and dataset are "
            "checked, too.",
        ),
    ] = None,
    run: RunOptions,
) -> None:
    """Check storage, servers, free space, paths and versions, and say what to do.

    Every check ends within 10 seconds. The exit code is 1 if one fails.
    """
    root, dataset = default_storage(run), None
    if file is not None:
        config = read_config(file, run, {})
        root, dataset = config.resources.storage, config.data.path
    environment.configure(root)
    from flows.cli import doctor as table
    from tasks.runtime import preflight

    console = CommandConsole(as_json=run.as_json)
    with errors_reported(console, debug=run.debug):
        checks = preflight.run_checks(root, dataset)
        passed = all(check.passed for check in checks)
        content = {
            "status": "done" if passed else "failed",
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        console.print_result(content, table.describe(checks))
    if not passed:
        raise typer.Exit(ExitCode.FAILED)


@command(app, panel=PANEL, example="chainrule ui --storage .chainrule")
def ui(common: CommonOptions) -> None:
    """Serve the user interfaces of Prefect and MLflow until Ctrl-C."""
    ensure_supervised()
    from flows.cli import ui

    with session("ui", default_storage(common), common) as console:
        ui.serve(console)


@command(app, panel=PANEL, example="chainrule demo --storage /tmp/demo")
def demo(common: CommonOptions) -> None:
    """Retrain, score and sample the New York flights of 2013 in one go."""

    def job(config: Config, console: CommandConsole) -> Any:  # as execution.Job
        from flows.cli import demo

        return demo.run(config, console)

    root = default_storage(common)
    months = f"{root.rstrip('/')}/demo/flights/month="
    overrides = {
        "data.path": f"{months}[1-9]",
        "score.input": f"{months}1[0-2]",
        "resources.storage": root,
    }
    with errors_reported(CommandConsole(as_json=common.as_json), debug=common.debug):
        config = load(DEMO_CONFIG, overrides)
    run_job("demo", config, job, common)
