"""Run the work of a command, with its configuration, supervision, log and exit code."""

import dataclasses
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
import yaml

from flows.cli import errors
from flows.cli.console import CommandConsole
from flows.cli.options import CommonOptions, FlowOptions, RunOptions
from flows.process import report, server, supervisor
from tasks.config.load import load
from tasks.config.resources import Resources
from tasks.config.root import Config
from tasks.runtime import environment, spans
from tasks.runtime.redaction import redact
from tasks.runtime.spans import span

if TYPE_CHECKING:
    from flows.outcomes import Outcome

    Job = Callable[[Config, CommandConsole], tuple[Outcome, str]]
    """The work of a command: returns the outcome and the text that describes it."""


WITHOUT_FLOW = ("ask", "deploy", "doctor", "export", "undeploy")
"""Commands with a job that runs no flow, and starts no server before it needs one."""


class ExitCode(IntEnum):
    """Exit code of a command; 143 is the code after SIGTERM."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INTERRUPTED = 130


def run_flow(
    name: str,
    file: Path,
    run: FlowOptions,
    overrides: Mapping[str, Any],
    **parameters: Any,
) -> NoReturn:
    """Run the flow of a command and exit with its code.

    Args:
        name: Name of the command.
        file: Configuration file.
        run: Options of the run.
        overrides: Values of options by configuration key, None if not given.
        **parameters: Further parameters of the flow.
    """

    def job(config: Config, console: CommandConsole) -> tuple["Outcome", str]:
        with span("import the flow and Prefect"):
            from flows.cli import formatting
            from flows.process import runs

        outcome = runs.run_flow(name, config, **parameters)
        return outcome, formatting.describe(outcome)

    config = read_config(file, run, overrides)
    if run.dry_run:
        rehearse(name, config, run, **parameters)
    run_job(name, config, job, run)


def rehearse(
    name: str, config: Config, options: CommonOptions, **parameters: Any
) -> NoReturn:
    """Print what the flow of a command would do, and exit.

    Args:
        name: Name of the command.
        config: Configuration of the flow.
        options: Options of the command.
        **parameters: Further parameters of the flow.
    """
    console = CommandConsole(as_json=options.as_json)
    with (
        errors_reported(console, debug=options.debug),
        tempfile.TemporaryDirectory() as home,
    ):
        environment.check_root(config.resources.storage)
        # Prefect creates its directory when it is imported.
        os.environ.setdefault("PREFECT_HOME", home)
        environment.configure(config.resources.storage)
        from flows import dry_run
        from flows.cli import planned

        outcome = dry_run.rehearse(name, config, **parameters)
        console.print_result(dataclasses.asdict(outcome), planned.describe(outcome))
    raise typer.Exit(ExitCode.DONE)


def run_job(name: str, config: Config, job: "Job", options: CommonOptions) -> NoReturn:
    """Run a job in a supervised child process, print its outcome and exit.

    Args:
        name: Name of the command.
        config: Configuration of the job.
        job: The work of the command.
        options: Options of the command.
    """
    ensure_supervised()
    root = config.resources.storage
    with session(f"{name}-{config.name}", root, options) as console:
        if name not in WITHOUT_FLOW:
            server.start(root)
        outcome, text = job(config, console)
        console.print_result(dataclasses.asdict(outcome), text)
    done = outcome.status == "done"
    raise typer.Exit(ExitCode.DONE if done else ExitCode.REFUSED)


def ensure_supervised() -> None:
    """Return in a supervised child process; elsewhere run one and exit as it does."""
    if not supervisor.is_supervised():
        console = CommandConsole(as_json="--json" in sys.argv)
        supervised = supervisor.supervise(
            sys.argv[1:], console.print_error, spans.RECORDED.extend
        )
        raise typer.Exit(supervised)


@contextmanager
def session(name: str, root: str, options: CommonOptions) -> Iterator[CommandConsole]:
    """Open the console and the log of a command while the block runs.

    Errors in the block become one message and an exit code.

    Args:
        name: Name for the log file.
        root: Root directory of all results.
        options: Options of the command.
    """
    console = CommandConsole(as_json=options.as_json)
    with errors_reported(console, debug=options.debug):
        environment.check_root(root)
        with console.open_log(log_path(root, name), debug=options.debug):
            environment.configure(root)
            prepare_database()
            if console.log is not None:
                report.tell_log(console.log)
            yield console


def prepare_database() -> None:
    """Create MLflow's embedded database if there is none, or update its schema."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("sqlite"):
        # It imports pyarrow.
        from tasks.registry import database

        database.prepare_database(uri)


def read_config(file: Path, run: RunOptions, overrides: Mapping[str, Any]) -> Config:
    """Read the configuration file, with options in place of its values.

    Options with a name of their own take precedence over `--set`. A configuration that
    cannot be used ends the command.

    Args:
        file: Configuration file.
        run: Options of the run.
        overrides: Values of options by configuration key, None if not given.
    """
    try:
        named = {key: value for key, value in overrides.items() if value is not None}
        if run.storage is not None:
            named["resources.storage"] = run.storage
        return load(file, parse_changes(run.changes or []) | named)
    except (OSError, ValueError) as error:
        CommandConsole(as_json=run.as_json).print_error(errors.describe(error))
        raise typer.Exit(ExitCode.USAGE) from error


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """Parse the values of `--set` to a mapping from configuration keys to values.

    Raises:
        ValueError: A value is not of the form KEY=VALUE.
    """
    parsed = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set must be KEY=VALUE, got {change!r}")
        parsed[key] = yaml.safe_load(value)
    return parsed


@contextmanager
def errors_reported(console: CommandConsole, *, debug: bool) -> Iterator[None]:
    """Turn errors in the block into one message and an exit code.

    Args:
        console: Where the message is shown.
        debug: Whether unexpected and expected errors are raised with their traceback.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        console.print_error(
            "interrupted; run the same command again to continue where it stopped"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except typer.Exit:
        raise
    except Exception as error:
        # The last resort of a command: the log has the whole traceback.
        if debug:
            raise
        message = errors.describe(error)
        console.print_error(message, log_traceback(error, console.log))
        raise typer.Exit(ExitCode.FAILED) from error


def log_traceback(error: Exception, log: Path | None) -> Path | None:
    """Append the traceback of an error to the log file.

    Returns:
        The log file, or None if there is none or it cannot be written.
    """
    if log is None:
        return None
    try:
        with open(log, "a", encoding="utf-8") as file:
            file.write(redact("".join(traceback.format_exception(error))))
    except OSError:
        return None  # A full disk, say; the message is about that already.
    return log


def default_storage(options: CommonOptions) -> str:
    """Return the root directory of all results for a command without configuration."""
    return options.storage or Resources().storage


def log_path(root: str, name: str) -> Path:
    """Return the path of a new log file below the local state of a storage."""
    started = datetime.now().strftime("%Y%m%d-%H%M%S")
    return environment.local_root(root) / "logs" / f"{started}-{name}-{os.getpid()}.log"
