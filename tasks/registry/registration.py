"""Registration of a trained model as a new version in the MLflow registry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.models.model import ModelInfo

from ar_models.density.table_density import TableDensity
from tasks.config.model_card import ModelCardConfig
from tasks.evaluation import evaluate, evaluation_summary
from tasks.registry import model_card
from tasks.registry.aliases import CHALLENGER, CHAMPION, number_by_alias
from tasks.registry.pyfunc_logging import log_pyfunc
from tasks.registry.versions import (
    CALIBRATED_FROM,
    MAX_TAG_LENGTH,
    P_VALUE_FAULT,
    PARENT_VERSION,
    PREVIOUS_CHAMPION,
    find_version,
    version_exists,
    version_uri,
)
from tasks.runtime import manifest, storage
from tasks.runtime.model_store import load

CARD_FILE = "model_card.md"
"""Name of the MLflow artifact with the model card."""

DEFAULT_CARD = ModelCardConfig()


@dataclass(frozen=True)
class Registration:
    """A registered version of a model, and the version that it competes with.

    Attributes:
        version: Number of the version.
        uri: URI of the version, models:/NAME/VERSION.
        incumbent_uri: URI of the champion that the version has to beat, or had to if it
            is the champion already; None if there is none.
    """

    version: str
    uri: str
    incumbent_uri: str | None


def register(
    name: str,
    model: str,
    evaluation: str,
    prepared: str,
    run_id: str,
    *,
    tags: Mapping[str, str] | None = None,
    source: str | None = None,
    card: ModelCardConfig = DEFAULT_CARD,
) -> Registration:
    """Register a model as a new version; as challenger if there is a champion.

    A model that has a version already keeps it.

    Args:
        name: Name of the registered model.
        model: Folder of the trained model, local or S3.
        evaluation: Folder of its evaluation.
        prepared: Folder of the prepared dataset that it was evaluated on.
        run_id: MLflow run to log the model to.
        tags: More tags of the version, such as the id of the flow run.
        source: Path of the raw dataset, which is logged as the input of the run.
        card: Descriptions for the model card.

    Raises:
        ValueError: The evaluation is that of another model.
    """
    density = load(model)
    evaluated = storage.read_json(storage.join(evaluation, evaluate.EVALUATION))
    fingerprint = density.info["fingerprints"]["model"]
    if evaluated["model"] != fingerprint:
        raise ValueError(
            f"{evaluation} is the evaluation of another model than {model}; evaluate "
            "this model first"
        )
    client = MlflowClient()
    champion = number_by_alias(client, name, CHAMPION)
    found = find_version(client, name, fingerprint)
    if found is None:
        text = model_card.render(name, density, prepared, evaluated, card)
        all_tags = lineage_tags(density, model, prepared, evaluation) | dict(tags or {})
        if evaluated["p_value_fault"]:
            all_tags[P_VALUE_FAULT] = evaluated["p_value_fault"]
        if champion is not None:
            all_tags[PARENT_VERSION] = champion
        _log_dataset(run_id, name, prepared, source or prepared, density)
        info = log_pyfunc(model, density, prepared, run_id)
        found = _create_version(client, name, info, run_id, all_tags, text)
        # Metrics logged before the model would be linked to it with their first value.
        metrics = evaluation_summary.metrics(evaluated)
        mlflow.log_metrics(metrics, run_id=run_id, model_id=info.model_id)
    version = str(found.version)
    if champion not in (None, version):
        client.set_registered_model_alias(name, CHALLENGER, version)
    incumbent = found.tags.get(PREVIOUS_CHAMPION) if champion == version else champion
    if incumbent is not None and not version_exists(client, name, incumbent):
        incumbent = None
    other = None if incumbent is None else version_uri(name, incumbent)
    return Registration(version, version_uri(name, version), other)


def lineage_tags(
    density: TableDensity, model: str, prepared: str, evaluation: str
) -> dict[str, str]:
    """Return the tags that say from which data and jobs a version comes.

    Args:
        density: The model.
        model: Folder of the model.
        prepared: Folder of the prepared dataset.
        evaluation: Folder of the evaluation.

    Returns:
        Fingerprints of the model, its encoder, the dataset and its schema, and the keys
        of the jobs that prepared, trained and evaluated; and the version that it is but
        for its calibration rows, if there is one.
    """
    tags = {
        f"{kind}_fingerprint": str(value)
        for kind, value in density.info["fingerprints"].items()
    }
    folders = {"train": model, "prepare": prepared, "evaluate": evaluation}
    for task, folder in folders.items():
        content = manifest.read_finished(folder)
        tags[f"{task}_key"] = content["job_key"]
        if task == "prepare":
            tags["dataset_fingerprint"] = content["inputs"]["dataset"]
    schema = storage.read_json(storage.join(prepared, "schema.json"))
    origin = density.info.get("recalibrated")
    if origin is not None and origin["version"] is not None:
        tags[CALIBRATED_FROM] = origin["version"]
    tags["schema_fingerprint"] = manifest.job_key(columns=schema["columns"])
    return tags


def _log_dataset(
    run_id: str, name: str, prepared: str, source: str, density: TableDensity
) -> None:
    content = manifest.read_finished(prepared)
    dataset = Dataset(
        name=name,
        digest=content["inputs"]["dataset"],
        source_type="parquet",
        source=json.dumps({"uri": source}),
        profile=json.dumps({"num_rows": sum(content["rows"].values())}),
    )
    purpose = "calibration" if "recalibrated" in density.info else "training"
    tag = InputTag("mlflow.data.context", purpose)
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset, [tag])])


def _create_version(
    client: MlflowClient,
    name: str,
    info: ModelInfo,
    run_id: str,
    tags: Mapping[str, str],
    card: str,
) -> ModelVersion:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.log_text(run_id, card, CARD_FILE)
    return client.create_model_version(
        name,
        info.model_uri,
        run_id,
        tags=dict(tags),
        model_id=info.model_id,
        description=card[:MAX_TAG_LENGTH],
    )
