"""From raw data to a registered model, and the parts of that way."""

from collections.abc import Callable, Mapping
from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks import group, storage, tracking
from tasks.config import Config

Results = dict[str, Any]
"""What each step returned, by its name; JSON-able."""


@flow(flow_run_name="{config.name}")
def prepare(config: Config) -> Results:
    """Reads, checks, splits and encodes the dataset."""
    return {"prepare": prepared_data(config)}


@flow(flow_run_name="{config.name}")
def train(config: Config) -> Results:
    """Prepares the dataset and trains a model on it."""
    data = prepared_data(config)
    return {"prepare": data, "train": trained_model(config, data)}


@flow(flow_run_name="{config.name}")
def evaluate(config: Config) -> Results:
    """Prepares, trains, and judges the model on held-out rows."""
    data = prepared_data(config)
    return {"prepare": data, **judged_model(config, data, trained_model(config, data))}


@flow(flow_run_name="{config.name}")
def retrain(config: Config) -> Results:
    """Prepares, trains, judges and registers; the better model becomes champion."""
    data = prepared_data(config)
    with steps.mlflow_run(config, data) as run_id:
        model = trained_model(config, data, tracking.metrics_logger(run_id))
        results = judged_model(config, data, model)
        figures = storage.join(results["evaluate"]["path"], "figures")
        tracking.log_results(
            run_id,
            results["evaluate"]["metrics"],
            artifacts=[results["report"], figures],
        )
        registered = steps.register_model(
            config.name,
            model["path"],
            results["evaluate"]["path"],
            data["path"],
            run_id,
            config.gate,
        )
    return {"prepare": data, **results, "register": registered, "run_id": run_id}


def prepared_data(config: Config) -> Results:
    """The prepared dataset of a configuration."""
    source = steps.group_rows(config.data, config.data.path, place(config, "grouped"))
    data: Results = steps.prepare_data(
        group.of_groups(config.data, source["path"]),
        place(config, "prepared"),
        config.resources,
    )
    return data


def trained_model(
    config: Config,
    data: Results,
    on_metrics: Callable[[Mapping[str, float]], None] | None = None,
) -> Results:
    """The model trained on a prepared dataset."""
    model: Results = steps.train_model(
        data["path"],
        config.model,
        config.train,
        place(config, "models"),
        config.resources,
        checkpoints=storage.join(config.resources.storage, config.name, "training"),
        on_metrics=on_metrics,
    )
    return model


def judged_model(config: Config, data: Results, model: Results) -> Results:
    """A trained model, its evaluation and its report."""
    judged = steps.evaluate_model(
        model["path"],
        data["path"],
        place(config, "evaluations"),
        config.evaluate,
        config.resources,
    )
    page = steps.write_report(
        model["path"], data["path"], judged["path"], judged["path"], name=config.name
    )
    return {"train": model, "evaluate": judged, "report": page}
