"""Two versions of a model on the same rows."""

from typing import Any

from prefect import flow

from flows import steps
from flows.retrain import prepared_data
from flows.steps import place
from tasks import storage
from tasks.config import Config


@flow(flow_run_name="{config.name}")
def compare(
    config: Config,
    first: str,
    second: str,
    input: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:  # JSON-able
    """Compares two versions, on `input` or on the test rows of the dataset."""
    source = input or storage.join(prepared_data(config)["path"], "test")
    (model, about), (other, about_other) = (
        steps.version_of(config, version) for version in (first, second)
    )
    compared = steps.compare_models(
        (model, other),
        source,
        place(config, "compared"),
        config.evaluate,
        config.resources,
        infos=(about, about_other),
        on_bad_file=config.data.on_bad_file,
        overwrite=overwrite,
    )
    run_id = steps.log_job(
        config.name,
        "compare",
        compared["key"],
        config.evaluate.model_dump(mode="json"),
        compared["metrics"],
        artifacts=[compared["page"]],
        tags={"first": about["version"], "second": about_other["version"]},
    )
    return {
        "models": [about, about_other],
        "compare": compared,
        "run_id": run_id,
    }
