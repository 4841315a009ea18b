"""Whether new rows are still what the champion learned."""

from typing import Any

from prefect import flow

from flows import steps
from flows.steps import place
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def monitor(
    config: Config, overwrite: bool = False, version: str = steps.CHAMPION
) -> dict[str, Any]:  # JSON-able
    """Compares `monitor.input` with what a model remembers.

    Args:
        config: The configuration.
        overwrite: Whether another job's output may be replaced.
        version: Number of a registered version, or an alias.
    """
    model, about = steps.version_of(config, version)
    source = steps.events_of(config, config.monitor.input)
    found = steps.monitor_rows(
        model,
        source,
        config.monitor.output or place(config, "monitored"),
        config.monitor,
        config.resources,
        model_info=about,
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    run_id = steps.log_job(
        config.name,
        "monitor",
        found["key"],
        config.monitor.model_dump(mode="json"),
        found["metrics"],
        artifacts=[found["page"]],
        tags={"model_version": about["version"], "verdict": found["verdict"]},
    )
    return {"model": about, "monitor": found, "run_id": run_id}
