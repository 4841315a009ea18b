"""The probability of every row of a dataset, by the champion."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks import group
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def score(config: Config, overwrite: bool = False) -> dict[str, Any]:  # JSON-able
    """Scores every row of `score.input` with the champion."""
    model, version = steps.download_model(
        f"models:/{config.name}@champion", config.resources.storage
    )
    source = steps.group_rows(
        config.data, config.score.input or config.data.path, place(config, "grouped")
    )
    scored = steps.score_rows(
        model,
        source["path"],
        config.score.output or place(config, "scored"),
        config.score,
        config.resources,
        id_columns=group.of_groups(config.data, source["path"]).id + config.score.carry,
        model_info=version,
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    return {"model": version, "score": scored}
