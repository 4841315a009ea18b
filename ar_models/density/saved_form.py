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
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ar_models.density.table_density import Codes, Floats, TableDensity
from ar_models.families.base import AutoregressiveModel
from ar_models.families.registry import build, family_name
from ar_models.tables.encoder import TableEncoder

FORMAT = 2
"""Version of the saved form that is written, and the only one that is read."""

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
CALIBRATION_FILE = "calibration.parquet"


def save_density(density: TableDensity, folder: Path) -> None:
    """Write a density into a directory, which is created if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights_bytes(density.model)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    if density.calibration:
        calibration = pa.table(dict(density.calibration))
        pq.write_table(calibration, folder / CALIBRATION_FILE)
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
        "model": model_fingerprint(content, digest, density.calibration),
    }
    libraries = ("numpy", "pyarrow", "safetensors", "torch")
    info = {
        **density.info,
        "versions": {name: version(name) for name in libraries},
        "fingerprints": fingerprints,
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
    encoder = TableEncoder.from_dict(content["encoder"])
    model = build(content["family"], encoder.variables, **content["config"])
    expected = content["info"]["fingerprints"]["weights"]
    model.load_state_dict(load_tensors(_read_weights(folder, expected)))
    model = model.to(device or "cpu")
    return TableDensity(encoder, model, _read_calibration(folder), content["info"])


def model_fingerprint(
    content: Mapping[str, Any],  # any JSON value
    weights: str,
    calibration: Mapping[str, Floats | Codes],
) -> str:
    """Return a hash of everything that a density computes with.

    Args:
        content: Description of the model and its encoder.
        weights: SHA-256 of the weights.
        calibration: Scores of the calibration rows, on which p-values depend.
    """
    scores = {
        name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        for name, values in calibration.items()
    }
    canonical = json.dumps([content, weights, scores], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


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
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: has format {content.get('format')!r}, this version reads "
            f"{FORMAT}; use the version of chainrule that wrote it"
        )
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
    found = hashlib.sha256(weights).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path}: is damaged or belongs to another model: its SHA-256 is "
            f"{found[:16]}…, {MODEL_FILE} states {expected[:16]}…; copy the whole "
            "folder again"
        )
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
