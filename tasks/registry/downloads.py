"""Download of registered versions as model folders, which every worker can reach."""

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from ar_models.density.saved_form import (
    CALIBRATION_FILE,
    MODEL_FILE,
    NEARNESS_FILE,
    WEIGHTS_FILE,
    file_hash,
    load_density,
)
from tasks.monitoring import reference
from tasks.registry.versions import P_VALUE_FAULT, resolve_uri, version_uri
from tasks.runtime import storage
from tasks.runtime.model_store import load

MODEL_FILES = (
    CALIBRATION_FILE,
    NEARNESS_FILE,
    reference.FILE,
    WEIGHTS_FILE,
    MODEL_FILE,
)
"""Files of a model folder, in the order in which they are written."""


@dataclass(frozen=True)
class ModelInfo:
    """The identity of the model that computed a result.

    Attributes:
        name: Name of the registered model; None for a folder outside the registry.
        version: Number of the version; None for a folder outside the registry.
        run_id: Id of the MLflow run that trained it; None outside the registry.
        fingerprint: Hash of the model.
        uri: URI of the version, or the model folder.
        p_value_fault: What was wrong with its p-values when it was registered, or None.
    """

    name: str | None
    version: str | None
    run_id: str | None
    fingerprint: str
    uri: str
    p_value_fault: str | None = None


@dataclass(frozen=True)
class DownloadedModel:
    """A model folder that every worker can reach.

    Attributes:
        folder: Path of the folder.
        info: Identity of the model.
    """

    folder: str
    info: ModelInfo

    def metadata(self) -> dict[str, Any]:
        """Return `info` as a JSON object for the manifests of results."""
        return asdict(self.info)


def download(model_uri: str, root: str) -> DownloadedModel:
    """Download a registered version to the storage, unless it is there already.

    An alias is resolved once, here.

    Args:
        model_uri: models:/NAME@ALIAS or models:/NAME/VERSION, or a model folder, which
            is used as it is.
        root: Root of the storage.

    Raises:
        ValueError: There is no such version.
    """
    if not model_uri.startswith("models:/"):
        density = load(model_uri)
        info = ModelInfo(
            name=density.info.get("name"),
            version=None,
            run_id=None,
            fingerprint=density.info["fingerprints"]["model"],
            uri=model_uri,
        )
        return DownloadedModel(model_uri, info)
    found = resolve_uri(MlflowClient(), model_uri)
    uri = version_uri(found.name, str(found.version))
    with tempfile.TemporaryDirectory() as temporary:
        source = download_artifacts(uri, Path(temporary))
        fingerprint = load_density(source).info["fingerprints"]["model"]
        # Another registry may have given the same number to another model.
        copy = f"{found.version}-{fingerprint[:12]}"
        folder = storage.join(root, found.name, "registered", copy)
        _copy_model(source, folder)
    info = ModelInfo(
        found.name,
        str(found.version),
        found.run_id,
        fingerprint,
        uri,
        found.tags.get(P_VALUE_FAULT),
    )
    return DownloadedModel(folder, info)


def download_artifacts(uri: str, target: Path) -> Path:
    """Download the version `uri` below `target`; return its model folder."""
    return Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"{uri}/artifacts/model", dst_path=str(target)
        )
    )


def _copy_model(source: Path, folder: str) -> None:
    for file in MODEL_FILES:
        copy = storage.join(folder, file)
        if not (source / file).exists():
            storage.delete(copy)
        elif not storage.exists(copy) or storage.checksum(copy) != file_hash(
            source / file
        ):
            with storage.publish(copy) as unfinished:
                shutil.copyfile(source / file, unfinished)
