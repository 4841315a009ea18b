"""Commands from data to a registered model."""

from dataclasses import dataclass
from typing import Annotated

import typer

from flows.cli.console import CommandConsole
from flows.cli.execution import errors_reported, run_flow
from flows.cli.options import (
    ClusterOptions,
    ConfigFile,
    Data,
    Overwrite,
    RunOptions,
    SectionOptions,
    command,
)

PANEL = "Train a model"
"""Title of the help panel that lists these commands."""

app = typer.Typer(rich_markup_mode="markdown")


@dataclass(frozen=True)
class FidelityOptions(SectionOptions):
    """Options for comparing synthetic with real rows."""

    section = "fidelity"
    samples: Annotated[
        str | None,
        typer.Option(
            help="Dataset of synthetic rows to compare with real ones, or `auto` to "
            "draw them from the model."
        ),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            help="Column to predict by a classifier or regressor that is trained on "
            "synthetic rows."
        ),
    ] = None


@command(app, panel=PANEL, example="chainrule init data/ --name orders > orders.yaml")
def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Parquet dataset: a file, folder, glob pattern or s3:// URI.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model; defaults to a name made from DATA."),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks and all output of libraries."),
    ] = False,
) -> None:
    """Print a proposed configuration for DATA, as a commented YAML file."""
    from flows.cli import init

    with errors_reported(CommandConsole(), debug=debug):
        typer.echo(init.propose(data, name), nl=False)


@command(app, panel=PANEL, example="chainrule retrain orders.yaml --workers 2")
def retrain(
    file: ConfigFile,
    cluster: ClusterOptions,
    *,
    data: Data = None,
    run: RunOptions,
) -> None:
    """Prepare, train, evaluate and register a model; the better one becomes champion.

    Steps that are already done are skipped. Exit code 3: data validation failed, or the
    new model did not beat the champion, which stays champion.
    """
    run_flow("retrain", file, run, {"data.path": data, **cluster.overrides()})


@command(app, panel=PANEL, example="chainrule prepare orders.yaml --data 'data/*'")
def prepare(
    file: ConfigFile,
    *,
    data: Data = None,
    run: RunOptions,
) -> None:
    """Read, check, split and encode the dataset."""
    run_flow("prepare", file, run, {"data.path": data})


@command(app, panel=PANEL, example="chainrule train orders.yaml --set train.epochs=5")
def train(
    file: ConfigFile,
    cluster: ClusterOptions,
    *,
    data: Data = None,
    run: RunOptions,
) -> None:
    """Prepare the dataset and train a model, without registering it."""
    run_flow("train", file, run, {"data.path": data, **cluster.overrides()})


@command(app, panel=PANEL, example="chainrule evaluate orders.yaml --samples auto")
def evaluate(
    file: ConfigFile,
    fidelity: FidelityOptions,
    cluster: ClusterOptions,
    *,
    data: Data = None,
    run: RunOptions,
) -> None:
    """Prepare, train and evaluate a model on held-out rows, without registering it.

    With --samples, synthetic rows are also compared with training and test rows.
    """
    overrides = {
        "data.path": data,
        **fidelity.overrides(),
        **cluster.overrides(),
    }
    run_flow("evaluate", file, run, overrides)


@command(app, panel=PANEL, example="chainrule compare orders.yaml champion 7")
def compare(
    file: ConfigFile,
    first: Annotated[str, typer.Argument(help="Number or alias of the first version.")],
    second: Annotated[
        str, typer.Argument(help="Number or alias of the second version.")
    ],
    *,
    data: Data = None,
    input: Annotated[
        str | None,
        typer.Option(
            help="Dataset to compare on; defaults to the test rows of the dataset."
        ),
    ] = None,
    overwrite: Overwrite = False,
    run: RunOptions,
) -> None:
    """Compare two registered versions on the same rows, in total and by segment."""
    run_flow(
        "compare",
        file,
        run,
        {"data.path": data},
        first=first,
        second=second,
        input=input,
        overwrite=overwrite,
    )
