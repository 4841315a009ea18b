"""From raw data to a registered model, and the parts of that way."""

from collections.abc import Callable, Mapping
from typing import Any

from prefect import flow

from ar_models.encoder import TableEncoder
from flows import score, steps
from flows.steps import place
from tasks import group, storage, tracking
from tasks.config import Config, DataConfig
from tasks.contract import log_facts, reference_of
from tasks.start import encoder_of

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
    model = trained_model(config, data)
    judged = evaluated_model(config, data, model)
    page = written_report(config, data, model, judged)
    results = {"prepare": data, "train": model, "evaluate": judged, "report": page}
    if config.fidelity.samples is not None:
        start = steps.choose_start(config, grouped_data(config))
        with steps.mlflow_run(config, data, start) as run_id:
            results |= compared_samples(config, data, model, run_id)
    return results


@flow(flow_run_name="{config.name}")
def retrain(config: Config) -> Results:
    """Prepares, trains, judges and registers; the better model becomes champion."""
    start = steps.choose_start(config, grouped_data(config))
    data = prepared_data(config, encoder_of(start))
    fit = steps.check_contract(data["path"], reference_of(config.name), config.contract)
    steps.show_checks(config.name, "contract", fit)
    if not fit["passed"]:
        return {"start": start, "prepare": data, "contract": fit}
    with steps.mlflow_run(config, data, start) as run_id:
        log_facts(run_id, data["path"])
        model = trained_model(
            config, data, tracking.metrics_logger(run_id), start["folder"]
        )
        judged = evaluated_model(config, data, model)
        tracking.log_metrics(run_id, judged["metrics"])
        compared = compared_samples(config, data, model, run_id)
        registered = steps.register_model(
            config.name,
            model["path"],
            judged["path"],
            data["path"],
            run_id,
            tags=steps.version_tags(),
            source=config.data.path,
            about=config.card,
        )
        verdict = gated_model(config, data, model, registered)
        page = written_report(config, data, model, judged, verdict["path"])
        figures = storage.join(judged["path"], "figures")
        tracking.log_results(run_id, {}, artifacts=[page, figures])
        decided = steps.decide_champion(
            config.name, registered["version"], verdict, run_id
        )
    return {
        "start": start,
        "prepare": data,
        "contract": fit,
        "train": model,
        "evaluate": judged,
        **compared,
        "gate": verdict,
        "report": page,
        "register": decided,
        **(score_new(config) if config.score.after_retrain else {}),
        "run_id": run_id,
        "unchanged": all(step["done"] for step in (data, model, judged, verdict)),
    }


def score_new(config: Config) -> Results:
    """Scores what the champion has not scored; `backfill`, by its name."""
    scored: Results = score.backfill(config)
    return {"backfill": scored["backfill"]}


def grouped_data(config: Config) -> DataConfig:
    """The dataset to learn from, its rows gathered into sequences if that is asked."""
    return group.of_groups(config.learned, steps.events_of(config))


def prepared_data(config: Config, encoder: TableEncoder | None = None) -> Results:
    """The prepared dataset of a configuration, with a given encoder or its own."""
    data: Results = steps.prepare_data(
        grouped_data(config),
        place(config, "prepared"),
        config.resources,
        encoder=encoder,
    )
    return data


def trained_model(
    config: Config,
    data: Results,
    on_metrics: Callable[[Mapping[str, float]], None] | None = None,
    start: str | None = None,
) -> Results:
    """The model trained on a prepared dataset, from scratch or from where it starts."""
    model: Results = steps.train_model(
        data["path"],
        config.model,
        config.train,
        place(config, "models"),
        config.resources,
        start=start,
        checkpoints=storage.join(config.resources.storage, config.name, "training"),
        on_metrics=on_metrics,
    )
    return model


def evaluated_model(config: Config, data: Results, model: Results) -> Results:
    """What the held-out rows say of a trained model."""
    judged: Results = steps.evaluate_model(
        model["path"],
        data["path"],
        place(config, "evaluations"),
        config.evaluate,
        config.resources,
    )
    return judged


def compared_samples(
    config: Config, data: Results, model: Results, run_id: str
) -> Results:
    """What synthetic rows are like, `fidelity` by its name, if that is asked."""
    if config.fidelity.samples is None:
        return {}
    found = steps.compare_samples(
        model["path"],
        data["path"],
        place(config, "fidelity"),
        config.fidelity,
        name=config.name,
    )
    tracking.log_results(run_id, found["metrics"], artifacts=[found["page"]])
    return {"fidelity": found}


def gated_model(
    config: Config, data: Results, model: Results, registered: Results
) -> Results:
    """The gate's verdict on a registered model, also as a table in Prefect."""
    verdict: Results = steps.judge_challenger(
        model["path"],
        steps.rival_folder(registered, config.resources.storage),
        data["path"],
        place(config, "gates"),
        config.gate,
        logged=registered["uri"],
    )
    steps.show_checks(config.name, "gate", verdict)
    return verdict


def written_report(
    config: Config,
    data: Results,
    model: Results,
    judged: Results,
    verdict: str | None = None,
) -> str:
    """The page about a model, beside its evaluation."""
    page: str = steps.write_report(
        model["path"],
        data["path"],
        judged["path"],
        judged["path"],
        name=config.name,
        gate=verdict,
        config=config.score,
    )
    return page
