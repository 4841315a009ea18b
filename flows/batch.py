"""Flows that apply a registered model: score, monitor, sample, impute, embed, export.

Each flow takes a version by its number or alias and writes one folder of results.
"""

from prefect import flow

from flows import steps
from flows.outcomes import (
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
from tasks.data import group
from tasks.inference import export as onnx
from tasks.inference.source import Source
from tasks.registry import downloads
from tasks.registry.aliases import CHAMPION
from tasks.runtime import storage


@flow(flow_run_name="{config.name}")
def score(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> ScoreOutcome:
    """Score every row of `score.input`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    model = steps.fetch_model(config, version)
    source = steps.input_path(config, config.score.input)
    scored = steps.score_rows(
        model.folder,
        Source(
            source,
            group.grouped_data(config.data, source).id + config.score.passthrough,
            config.data.on_bad_file,
        ),
        config.score.output or output_path(config, "scored"),
        config.score,
        config.resources,
        model_info=model.metadata(),
        overwrite=overwrite,
    )
    return ScoreOutcome(model=model.info, score=scored)


@flow(flow_run_name="{config.name}")
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
        Source(
            config.score.input or config.data.path,
            config.data.id + config.score.passthrough,
            config.data.on_bad_file,
        ),
        partitions_path(config),
        config.score,
        config.resources,
        model_info=model.metadata(),
        since=since,
        until=until,
    )
    return BackfillOutcome(model=model.info, backfill=scored)


def partitions_path(config: Config) -> str:
    """Return the folder of the scored partitions."""
    default = storage.join(config.resources.storage, config.name, "partitions")
    return config.score.output or default


@flow(flow_run_name="{config.name}")
def monitor(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> MonitorOutcome:
    """Compare the rows of `monitor.input` with the reference data of a model.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    model = steps.fetch_model(config, version)
    source = steps.input_path(config, config.monitor.input)
    monitored = steps.monitor_rows(
        model.folder,
        Source(source, on_bad_file=config.data.on_bad_file),
        config.monitor.output or output_path(config, "monitored"),
        config.monitor,
        config.resources,
        model_info=model.metadata(),
        overwrite=overwrite,
    )
    run_id = steps.log_job(
        config.name,
        "monitor",
        monitored.key,
        config.monitor.model_dump(mode="json"),
        monitored.metrics,
        artifacts=[monitored.page],
        tags={"model_version": model.info.version, "verdict": monitored.verdict},
    )
    return MonitorOutcome(
        status="drift" if monitored.verdict == "drift" else "done",
        model=model.info,
        monitor=monitored,
        run_id=run_id,
    )


@flow(flow_run_name="{config.name}")
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
    models = [steps.fetch_model(config, version) for version in (first, second)]
    compared = steps.compare_models(
        (models[0].folder, models[1].folder),
        Source(source, on_bad_file=config.data.on_bad_file),
        output_path(config, "compared"),
        config.evaluate,
        config.resources,
        infos=(models[0].metadata(), models[1].metadata()),
        overwrite=overwrite,
    )
    run_id = steps.log_job(
        config.name,
        "compare",
        compared.key,
        config.evaluate.model_dump(mode="json"),
        compared.metrics,
        artifacts=[compared.page],
        tags={"first": models[0].info.version, "second": models[1].info.version},
    )
    return CompareOutcome(
        models=(models[0].info, models[1].info), compare=compared, run_id=run_id
    )


@flow(flow_run_name="{config.name}")
def sample(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> SampleOutcome:
    """Draw `sample.rows` synthetic rows, or complete the rows of `sample.given`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    model = steps.fetch_model(config, version)
    sampled = steps.sample_rows(
        model.folder,
        config.sample.output or output_path(config, "samples"),
        config.sample,
        config.resources,
        model_info=model.metadata(),
        overwrite=overwrite,
    )
    return SampleOutcome(model=model.info, sample=sampled)


@flow(flow_run_name="{config.name}")
def impute(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> ImputeOutcome:
    """Fill the nulls of `impute.input`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    model = steps.fetch_model(config, version)
    imputed = steps.impute_rows(
        model.folder,
        config.impute.input or config.data.path,
        config.impute.output or output_path(config, "imputed"),
        config.impute,
        config.resources,
        model_info=model.metadata(),
        overwrite=overwrite,
    )
    return ImputeOutcome(model=model.info, impute=imputed)


@flow(flow_run_name="{config.name}")
def embed(
    config: Config, overwrite: bool = False, version: str = CHAMPION
) -> EmbedOutcome:
    """Write the features that a model computes of every row of `embed.input`.

    Args:
        config: Configuration of the dataset and the job.
        overwrite: Whether the output of another job may be replaced.
        version: Number or alias of a registered version.
    """
    model = steps.fetch_model(config, version)
    source = steps.input_path(config, config.embed.input)
    embedded = steps.embed_rows(
        model.folder,
        Source(
            source,
            group.grouped_data(config.data, source).id + config.embed.passthrough,
            config.data.on_bad_file,
        ),
        config.embed.output or output_path(config, "embedded"),
        config.embed,
        config.resources,
        model_info=model.metadata(),
        overwrite=overwrite,
    )
    return EmbedOutcome(model=model.info, embed=embedded)


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
