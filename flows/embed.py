"""The features of every row of a dataset, by the champion."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks import group
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def embed(config: Config, overwrite: bool = False) -> dict[str, Any]:  # JSON-able
    """Writes the features of every row of `embed.input` by the champion."""
    model, version = steps.download_model(
        f"models:/{config.name}@champion", config.resources.storage
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
        model_info=version,
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    return {"model": version, "embed": embedded}
