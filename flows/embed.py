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
    model, about = steps.version_of(config, version)
    source = steps.events_of(config, config.embed.input)
    embedded = steps.embed_rows(
        model,
        source,
        config.embed.output or place(config, "embedded"),
        config.embed,
        config.resources,
        id_columns=group.of_groups(config.data, source).id + config.embed.carry,
        model_info=about,
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    return {"model": about, "embed": embedded}
