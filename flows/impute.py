"""The nulls of a dataset filled, by the champion or another version."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def impute(
    config: Config, overwrite: bool = False, version: str = steps.CHAMPION
) -> dict[str, Any]:  # JSON-able
    """Fills the nulls of `impute.input`.

    Args:
        config: The configuration.
        overwrite: Whether another job's output may be replaced.
        version: Number of a registered version, or an alias.
    """
    model, about = steps.version_of(config, version)
    filled = steps.impute_rows(
        model,
        config.impute.input or config.data.path,
        config.impute.output or place(config, "imputed"),
        config.impute,
        config.resources,
        model_info=about,
        overwrite=overwrite,
    )
    return {"model": about, "impute": filled}
