"""Commands from data to a registered model."""

from typing import Annotated

import typer

from flows.cli.console import CommandConsole
from flows.cli.execution import errors_reported, run_flow
from flows.cli.options import (
    ConfigFile,
    FlowOptions,
    Overrides,
    Overwrite,
    VersionOptions,
    command,
)

PANEL = "Train a model"
"""Title of the help panel that lists these commands."""

app = typer.Typer(rich_markup_mode="markdown")


RESOURCES = ("resources.workers", "resources.gpus_per_worker")
"""Configuration keys of the resources of training."""


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


@command(
    app,
    "data.path",
    *RESOURCES,
    panel=PANEL,
    example="chainrule retrain orders.yaml --workers 2",
)
def retrain(file: ConfigFile, overrides: Overrides, run: FlowOptions) -> None:
    """Prepare, train, evaluate and register a model; the better one becomes champion.

    Steps that are already done are skipped. Exit code 3: data validation failed, or the
    new model did not beat the champion, which stays champion.
    """
    run_flow("retrain", file, run, overrides)


@command(
    app,
    "data.path",
    panel=PANEL,
    example="chainrule prepare orders.yaml --data 'data/*'",
)
def prepare(file: ConfigFile, overrides: Overrides, run: FlowOptions) -> None:
    """Read, check, split and encode the dataset."""
    run_flow("prepare", file, run, overrides)


@command(
    app,
    "data.path",
    *RESOURCES,
    panel=PANEL,
    example="chainrule train orders.yaml --set train.epochs=5",
)
def train(file: ConfigFile, overrides: Overrides, run: FlowOptions) -> None:
    """Prepare the dataset and train a model, without registering it."""
    run_flow("train", file, run, overrides)


@command(
    app,
    *("data.path", "tune.trials", "tune.budget", "resources.gpus_per_worker"),
    panel=PANEL,
    example="chainrule tune orders.yaml --trials 40 --budget 1h",
)
def tune(file: ConfigFile, overrides: Overrides, run: FlowOptions) -> None:
    """Search for settings with a lower validation NLL, and write them to a YAML file.

    Trials that were finished before are not repeated. Nothing is registered; retrain
    with the file that is printed at the end.
    """
    run_flow("tune", file, run, overrides)


@command(
    app,
    *("data.path", "fidelity.samples", "fidelity.target", *RESOURCES),
    panel=PANEL,
    example="chainrule evaluate orders.yaml --samples auto",
)
def evaluate(file: ConfigFile, overrides: Overrides, run: FlowOptions) -> None:
    """Prepare, train and evaluate a model on held-out rows, without registering it.

    With --samples, synthetic rows are also compared with training and test rows.
    """
    run_flow("evaluate", file, run, overrides)


@command(app, panel=PANEL, example="chainrule calibrate orders.yaml --input new/")
def calibrate(
    file: ConfigFile,
    *,
    input: Annotated[
        str | None,
        typer.Option(
            help="Dataset of rows that the model was not trained on; defaults to the "
            "held-out rows of the dataset."
        ),
    ] = None,
    version: VersionOptions,
    run: FlowOptions,
) -> None:
    """Calibrate p-values on newer rows, without training the model again.

    Weights stay; scores are ranked among the newer rows. The model is registered as a
    new version, which becomes champion if its p-values are nearer to uniform than the
    champion's. Exit code 3: they are not.
    """
    run_flow("calibrate", file, run, {}, input=input, **version.parameters())


@command(
    app, "data.path", panel=PANEL, example="chainrule compare orders.yaml champion 7"
)
def compare(
    file: ConfigFile,
    first: Annotated[str, typer.Argument(help="Number or alias of the first version.")],
    second: Annotated[
        str, typer.Argument(help="Number or alias of the second version.")
    ],
    overrides: Overrides,
    *,
    input: Annotated[
        str | None,
        typer.Option(
            help="Dataset to compare on; defaults to the test rows of the dataset."
        ),
    ] = None,
    overwrite: Overwrite = False,
    run: FlowOptions,
) -> None:
    """Compare two registered versions on the same rows, in total and by segment."""
    versions = {"first": first, "second": second}
    run_flow(
        "compare", file, run, overrides, **versions, input=input, overwrite=overwrite
    )
