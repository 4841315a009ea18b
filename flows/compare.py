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
    named = [steps.model_uri(config, version) for version in (first, second)]
    found = [steps.download_model(uri, config.resources.storage) for uri in named]
    compared = steps.compare_models(
        (found[0][0], found[1][0]),
        source,
        place(config, "compared"),
        config.evaluate,
        config.resources,
        infos=(found[0][1], found[1][1]),
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
        tags={"first": found[0][1]["version"], "second": found[1][1]["version"]},
    )
    return {
        "models": [version for _, version in found],
        "compare": compared,
        "run_id": run_id,
    }
