"""Synthetic rows, drawn from the champion."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def sample(config: Config, overwrite: bool = False) -> dict[str, Any]:  # JSON-able
    """Draws `sample.rows` rows from the champion."""
    model, version = steps.download_model(
        f"models:/{config.name}@champion", config.resources.storage
    )
    drawn = steps.sample_rows(
        model,
        config.sample.output or place(config, "samples"),
        config.sample,
        config.resources,
        model_info=version,
        overwrite=overwrite,
    )
    return {"model": version, "sample": drawn}
