"""Flows that apply a registered model: score, monitor, sample, impute, embed, ask.

Each function is run as a flow by `flows.steps.as_flow`. It takes a version by its
number or alias and writes one folder of results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from flows import links, steps
from flows.outcomes import (
    AskOutcome,
    BackfillOutcome,
    CompareOutcome,
    EmbedOutcome,
    ExportOutcome,
    ImputeOutcome,
    MonitorOutcome,
    SampleOutcome,
    ScoreOutcome,
)
from flows.steps import output_path
from tasks.config.root import Config
from tasks.registry.aliases import CHAMPION
from tasks.runtime import storage
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from tasks.data import group
    from tasks.inference import ask as asking
    from tasks.inference import export as onnx
    from tasks.inference import source as sources
    from tasks.inference.source import Source
    from tasks.registry import downloads
    from tasks.registry.downloads import ModelInfo
else:
    group = DeferredModule("tasks.data.group")
    asking = DeferredModule("tasks.inference.ask")
    onnx = DeferredModule("tasks.inference.export")
    sources = DeferredModule("tasks.inference.source")
    downloads = DeferredModule("tasks.registry.downloads")

STEPS: dict[str, tuple[Callable[..., Any], str]] = {
    "score": (steps.score_rows, "scored"),
    "monitor": (steps.monitor_rows, "monitored"),
    "sample": (steps.sample_rows, "samples"),
    "impute": (steps.impute_rows, "imputed"),
    "embed": (steps.embed_rows, "embedded"),
}
"""The step of each flow, and the folder of its results below the storage."""


def apply_model(
    name: str, config: Config, version: str, *source: Source | str, overwrite: bool
) -> tuple[ModelInfo, Any]:
    """Run the step of a flow with a registered version.

    Args:
        name: Name of the flow and of its section of the configuration.
        config: Configuration of the dataset and the job.
        version: Number or alias of a registered version.
        *source: Dataset that the step reads, if it reads any.
        overwrite: Whether the output of another job may be replaced.

    Returns:
        What identifies the version, and the result of the step.
    """
    step, folder = STEPS[name]
    model, settings = steps.fetch_model(config, version), getattr(config, name)
    result = step(
        model.folder,
        *source,
        settings.output or output_path(config, folder),
        settings,
        config.resources,
        model_info=model.metadata(),
        overwrite=overwrite,
    )
    return model.info, result


def rows_with_ids(
    config: Config, path: str | None, passthrough: tuple[str, ...] | Literal["all"]
) -> Source:
    """Return the rows to process, grouped if configured, with the columns to copy.

    Args:
        config: Configuration of the dataset.
        path: Dataset in place of `data.path`.
        passthrough: Columns that are copied besides the id columns.
    """
    source = steps.input_path(config, path)
    ids = group.grouped_data(config.data, source).id
    return source_of(config, source, ids, passthrough)


def source_of(
    config: Config,
    path: str,
    ids: tuple[str, ...],
    passthrough: tuple[str, ...] | Literal["all"],
) -> Source:
    """Return a dataset with the columns to copy.

    Args:
        config: Configuration of the dataset.
        path: The dataset.
        ids: Id columns.
        passthrough: Columns that are copied besides these.
    """
    data = config.data
    copies_all = passthrough == "all"
    names = () if passthrough == "all" else passthrough
    return sources.Source(
        path,
        ids + names,
        data.on_bad_file,
        data.on_missing,
        copies_all,
        adds_place=not ids and not copies_all,
    )


def score(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> ScoreOutcome:
    """Score every row of `score.input`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    source = rows_with_ids(config, config.score.input, config.score.passthrough)
    model, scored = apply_model("score", config, version, source, overwrite=overwrite)
    sent = steps.alert_of_anomalies(config, model, scored.path)
    return ScoreOutcome(model=model, score=scored, alerts=sent)


def backfill(
    config: Config,
    since: str | None = None,
    until: str | None = None,
    version: str = CHAMPION,
) -> BackfillOutcome:
    """Score the partitions of `score.input` that a version has not scored yet.

    Args:
        config: Configuration of the dataset and the job.
        since: First partition of the range; by default, there is no lower bound.
        until: Last partition of the range; by default, there is no upper bound.
        version: Number or alias of a registered version.
    """
    group.reject_sequences(config.data, "partition by partition")
    model = steps.fetch_model(config, version)
    scored = steps.score_partitions(
        model.folder,
        source_of(
            config,
            config.score.input or config.data.path,
            config.data.id,
            config.score.passthrough,
        ),
        partitions_path(config),
        config.score,
        config.resources,
        model_info=model.metadata(),
        since=since,
        until=until,
    )
    folders = (storage.join(scored.path, name) for name in scored.scored)
    sent = [steps.alert_of_anomalies(config, model.info, each) for each in folders]
    alerts = tuple(alert for alerts in sent for alert in alerts)
    return BackfillOutcome(model=model.info, backfill=scored, alerts=alerts)


def partitions_path(config: Config) -> str:
    """Return the folder of the scored partitions."""
    default = storage.join(config.resources.storage, config.name, "partitions")
    return config.score.output or default


def monitor(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> MonitorOutcome:
    """Compare the rows of `monitor.input` with the reference data of a model.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    path = steps.input_path(config, config.monitor.input)
    data = config.data
    source = sources.Source(
        path, on_bad_file=data.on_bad_file, on_missing=data.on_missing
    )
    model, monitored = apply_model(
        "monitor", config, version, source, overwrite=overwrite
    )
    run_id = steps.log_job(
        config.name,
        "monitor",
        monitored.key,
        config.monitor.model_dump(mode="json"),
        monitored.metrics,
        artifacts=[monitored.page],
        tags={"model_version": model.version, "verdict": monitored.verdict},
    )
    links.link_pages(run_id)
    return MonitorOutcome(
        status="drift" if monitored.verdict == "drift" else "done",
        model=model,
        monitor=monitored,
        run_id=run_id,
        alerts=steps.alert_of_drift(config, model, monitored),
    )


def compare(
    config: Config,
    first: str,
    second: str,
    input: str | None = None,
    overwrite: bool = False,
) -> CompareOutcome:
    """Compare two registered versions on the same rows.

    Args:
        config: Configuration of the dataset and the job.
        first: Number or alias of a version.
        second: Number or alias of the version to compare it with.
        input: Dataset with the rows; by default, the test rows of the dataset.
        overwrite: Whether the output of another job may be replaced.
    """
    source = input or storage.join(steps.prepared_data(config).path, "test")
    one, other = (steps.fetch_model(config, version) for version in (first, second))
    compared = steps.compare_models(
        (one.folder, other.folder),
        sources.Source(
            source,
            on_bad_file=config.data.on_bad_file,
            on_missing=config.data.on_missing,
        ),
        output_path(config, "compared"),
        config.evaluate,
        config.resources,
        infos=(one.metadata(), other.metadata()),
        overwrite=overwrite,
    )
    run_id = steps.log_job(
        config.name,
        "compare",
        compared.key,
        config.evaluate.model_dump(mode="json"),
        compared.metrics,
        artifacts=[compared.page],
        tags={"first": one.info.version, "second": other.info.version},
    )
    links.link_pages(run_id)
    return CompareOutcome(
        models=(one.info, other.info), compare=compared, run_id=run_id
    )


def sample(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> SampleOutcome:
    """Draw `sample.rows` synthetic rows, or complete the rows of `sample.given`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    model, sampled = apply_model("sample", config, version, overwrite=overwrite)
    return SampleOutcome(model=model, sample=sampled)


def impute(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> ImputeOutcome:
    """Fill the nulls of `impute.input`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    source = config.impute.input or config.data.path
    model, imputed = apply_model("impute", config, version, source, overwrite=overwrite)
    return ImputeOutcome(model=model, impute=imputed)


def embed(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> EmbedOutcome:
    """Write the features that a model computes of every row of `embed.input`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    source = rows_with_ids(config, config.embed.input, config.embed.passthrough)
    model, embedded = apply_model("embed", config, version, source, overwrite=overwrite)
    return EmbedOutcome(model=model, embed=embedded)


def export(config: Config, output: str, version: str = CHAMPION) -> ExportOutcome:
    """Write a registered version as an ONNX file.

    This is a plain function: it takes seconds, so a Prefect flow run adds nothing.

    Args:
        config: Configuration with the model's name and the storage.
        output: Path of the file, local or on S3.
        version: Number or alias of a registered version.
    """
    uri = steps.model_uri(config, version)
    model = downloads.download(uri, config.resources.storage)
    return ExportOutcome(model=model.info, export=onnx.export(model.folder, output))


def ask(
    config: Config,
    questions: list[tuple[str, str]],
    output: str | None,
    *,
    draws: int,
    seed: int,
    version: str = CHAMPION,
) -> AskOutcome:
    """Return probabilities of predicates by a registered version.

    This is a plain function: it takes seconds, so a Prefect flow run adds nothing.

    Args:
        config: Configuration with the model's name and the storage.
        questions: Predicates, and what is given for each.
        output: Parquet file for the answers, local or on S3; None: not written.
        draws: Approximate number of draws per question.
        seed: Random seed.
        version: Number or alias of a registered version.
    """
    uri = steps.model_uri(config, version)
    model = downloads.download(uri, config.resources.storage)
    answers = asking.ask(model.folder, questions, output, draws=draws, seed=seed)
    return AskOutcome(model=model.info, ask=answers)
