"""Synthetic rows, drawn from the champion or another version."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def sample(
    config: Config, overwrite: bool = False, version: str = steps.CHAMPION
) -> dict[str, Any]:  # JSON-able
    """Draws `sample.rows` rows, or completes the rows of `sample.given`.

    Args:
        config: The configuration.
        overwrite: Whether another job's output may be replaced.
        version: Number of a registered version, or an alias.
    """
    model, about = steps.version_of(config, version)
    drawn = steps.sample_rows(
        model,
        config.sample.output or place(config, "samples"),
        config.sample,
        config.resources,
        model_info=about,
        overwrite=overwrite,
    )
    return {"model": about, "sample": drawn}
