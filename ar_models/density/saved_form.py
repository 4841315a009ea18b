"""The saved form of a density: a directory of JSON, safetensors and Parquet files."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ar_models.density.table_density import Codes, Floats, TableDensity
from ar_models.families.base import AutoregressiveModel
from ar_models.families.registry import build, family_name
from ar_models.scoring.nearness import Nearness
from ar_models.tables.encoder import TableEncoder

FORMAT = 2
"""Version of the saved form that is written, and the only one that is read."""

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
CALIBRATION_FILE = "calibration.parquet"
NEARNESS_FILE = "nearness.safetensors"

OWN_FILES = (CALIBRATION_FILE, NEARNESS_FILE)
"""Files that `save_density` writes, besides those whose content has fingerprints."""


def save_density(density: TableDensity, folder: Path) -> None:
    """Write a density into a directory, which is created if needed.

    Other files that are to belong to the model, such as reference data, have to be in
    the directory already, and their hashes in `density.info["files"]`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights_bytes(density.model)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    files = _known_files(density, folder)
    if density.calibration:
        path = folder / CALIBRATION_FILE
        calibration = pa.table(dict(density.calibration))
        pq.write_table(calibration, path, write_page_checksum=True)
        files[CALIBRATION_FILE] = file_hash(path)
    stored = None if density.nearness is None else density.nearness.x
    if stored is not None:
        path = folder / NEARNESS_FILE
        path.write_bytes(save_arrays({"x": np.ascontiguousarray(stored)}))
        files[NEARNESS_FILE] = file_hash(path)
    content = {
        "format": FORMAT,
        "family": family_name(density.model),
        "config": density.model.config(),
        "encoder": density.encoder.to_dict(),
    }
    digest = hashlib.sha256(weights).hexdigest()
    fingerprints = {
        **density.info.get("fingerprints", {}),
        "encoder": density.encoder.fingerprint,
        "weights": digest,
        "model": model_fingerprint(content, digest, density.calibration, stored),
    }
    libraries = ("numpy", "pyarrow", "safetensors", "torch")
    info = {
        **density.info,
        "versions": {name: version(name) for name in libraries},
        "fingerprints": fingerprints,
        "files": files,
    }
    (folder / MODEL_FILE).write_text(json.dumps(content | {"info": info}) + "\n")


def load_density(
    folder: Path, device: str | torch.device | None = None
) -> TableDensity:
    """Read the density that `save_density` wrote.

    Args:
        folder: The directory.
        device: Device of the model's parameters; default: the CPU.

    Raises:
        FileNotFoundError: The directory lacks one of the files.
        ValueError: A file is damaged, belongs to another model, or has a format that
            this version does not read.
    """
    content = _read_model(folder)
    _check_files(folder, content["info"].get("files", {}))
    weights = _read_weights(folder, content["info"]["fingerprints"]["weights"])
    calibration = _read_calibration(folder)
    stored = None
    if NEARNESS_FILE in content["info"].get("files", {}):
        stored = load_arrays((folder / NEARNESS_FILE).read_bytes())["x"]
    _check_fingerprint(folder, content, calibration, stored)
    encoder = TableEncoder.from_dict(content["encoder"])
    nearness = None if stored is None else Nearness(encoder, stored)
    model = build(content["family"], encoder.variables, **content["config"])
    model.load_state_dict(load_tensors(weights))
    model = model.to(device or "cpu")
    return TableDensity(encoder, model, calibration, content["info"], nearness)


def model_fingerprint(
    content: Mapping[str, Any],  # any JSON value
    weights: str,
    calibration: Mapping[str, Floats | Codes],
    stored: NDArray[np.float32] | None = None,
) -> str:
    """Return a hash of everything that a density computes with.

    Args:
        content: Description of the model and its encoder.
        weights: SHA-256 of the weights.
        calibration: Scores of the calibration rows, on which p-values depend.
        stored: Encoded training rows that distances are measured to, if any.
    """
    scores = {name: array_hash(values) for name, values in calibration.items()}
    rows = [] if stored is None else [array_hash(stored)]
    canonical = json.dumps([content, weights, scores, *rows], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def array_hash(values: NDArray[Any]) -> str:  # of any type
    """Return the SHA-256 of the bytes of an array in hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known_files(density: TableDensity, folder: Path) -> dict[str, str]:
    """Return the hashes of those other files of a density that are in a directory."""
    known = density.info.get("files", {})
    return {
        name: digest
        for name, digest in known.items()
        if name not in OWN_FILES and (folder / name).exists()
    }


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Raise an error for a file that is missing or has another hash than stated."""
    for name, expected in files.items():
        path = folder / name
        if not path.exists():
            raise FileNotFoundError(f"{folder}: is incomplete, {name} is missing")
        _check_hash(path, file_hash(path), expected)


def _check_hash(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(
            f"{path}: is damaged or belongs to another model: its SHA-256 is "
            f"{found[:16]}…, {MODEL_FILE} states {expected[:16]}…; copy the whole "
            "folder again"
        )


def _check_fingerprint(
    folder: Path,
    content: Mapping[str, Any],  # any JSON value
    calibration: Mapping[str, Floats | Codes],
    stored: NDArray[np.float32] | None,
) -> None:
    """Raise ValueError unless all that was read has the stated fingerprint."""
    described = {n: v for n, v in content.items() if n != "info"}
    stated = content["info"]["fingerprints"]
    found = model_fingerprint(described, stated["weights"], calibration, stored)
    if found != stated["model"]:
        raise ValueError(
            f"{folder / MODEL_FILE}: is damaged, or {CALIBRATION_FILE} is missing or "
            f"belongs to another model: the fingerprint is {found[:16]}…, {MODEL_FILE} "
            f"states {stated['model'][:16]}…; copy the whole folder again"
        )


def _read_model(folder: Path) -> dict[str, Any]:  # any JSON value
    path = folder / MODEL_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{folder}: is not a model folder, {MODEL_FILE} is missing"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: is damaged, invalid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is damaged, not a JSON object")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: has format {content.get('format')!r}, this version reads "
            f"{FORMAT}; use the version of chainrule that wrote it"
        )
    known = content.get("info", {})
    if not {"weights", "model"} <= set(known.get("fingerprints", {})):
        raise ValueError(f"{path}: is damaged, its fingerprints are missing")
    return content


def _weights_bytes(model: AutoregressiveModel) -> bytes:
    state = model.state_dict()
    return save_tensors({n: t.cpu().contiguous() for n, t in state.items()})


def _read_weights(folder: Path, expected: str) -> bytes:
    """Return the bytes of the weights, whose SHA-256 must be the expected one."""
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise FileNotFoundError(f"{folder}: is incomplete, {WEIGHTS_FILE} is missing")
    weights = path.read_bytes()
    _check_hash(path, hashlib.sha256(weights).hexdigest(), expected)
    return weights


def _read_calibration(folder: Path) -> dict[str, Floats | Codes]:
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return {}
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: is damaged: {error}") from error
    return {name: table[name].to_numpy() for name in table.column_names}
