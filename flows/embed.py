"""The features of every row of a dataset, by the champion or another version."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks import group
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def embed(
    config: Config, overwrite: bool = False, version: str = steps.CHAMPION
) -> dict[str, Any]:  # JSON-able
    """Writes the features of every row of `embed.input`.

    Args:
        config: The configuration.
        overwrite: Whether another job's output may be replaced.
        version: Number of a registered version, or an alias.
    """
    model, about = steps.download_model(
        steps.model_uri(config, version), config.resources.storage
    )
    source = steps.group_rows(
        config.data, config.embed.input or config.data.path, place(config, "grouped")
    )
    embedded = steps.embed_rows(
        model,
        source["path"],
        config.embed.output or place(config, "embedded"),
        config.embed,
        config.resources,
        id_columns=group.of_groups(config.data, source["path"]).id + config.embed.carry,
        model_info=about,
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    return {"model": about, "embed": embedded}
