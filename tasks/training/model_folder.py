"""The folder of a trained model: weights, calibration scores and reference data."""

import json
import logging
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ray.train import Checkpoint
from safetensors.torch import load_file

from ar_models.density.saved_form import file_hash, save_density
from ar_models.density.table_density import TableDensity
from ar_models.density.violation_weights import fit_violation_weights
from ar_models.scoring.nearness import Nearness, stored_rows
from tasks.data.prepared import read_encoder
from tasks.monitoring import reference
from tasks.runtime import manifest, progress, storage
from tasks.training.checkpoint import BEST_WEIGHTS, read_state
from tasks.training.orderings import sample_rows
from tasks.training.warm_start import WarmStart
from tasks.training.worker import TrainingRun, build_model

logger = logging.getLogger(__name__)

BATCH_ROWS = 65_536
"""Number of calibration rows that are read at a time."""

Json = dict[str, Any]  # JSON values


def write_model(
    checkpoint: Checkpoint,
    run: TrainingRun,
    prepared: Json,
    output: str,
    warm_start: WarmStart | None,
) -> Json:
    """Write the model folder from the last checkpoint.

    Args:
        checkpoint: Checkpoint with the best weights.
        run: What was trained.
        prepared: Manifest of the prepared dataset.
        output: Folder to write.
        warm_start: The model that training started from, if any.

    Returns:
        The content of the folder's manifest.

    Raises:
        FloatingPointError: No epoch ended with a finite validation NLL.
    """
    with checkpoint.as_directory() as folder:
        state = read_state(Path(folder))
        weights = load_file(Path(folder) / BEST_WEIGHTS)
    if not math.isfinite(state.best_nll):
        raise FloatingPointError(
            "no epoch ended with a finite valid NLL; lower train.learning_rate or set "
            "train.precision to fp32"
        )
    encoder = read_encoder(run.prepared)
    model = build_model(run, encoder.variables)
    model.load_state_dict(weights)
    started_from = None if warm_start is None else asdict(warm_start)
    info = {
        "job_key": run.key,
        "prepared": prepared["job_key"],
        "split_rule": split_rule(run.prepared, prepared),
        "warm_start": started_from,
    }
    density = fit_violation_weights(TableDensity(encoder, model, info=info))
    density.nearness = stored_nearness(density, run.prepared)
    calibration_rows = prepared["rows"]["calibration"]
    density.calibration = calibration_scores(density, run.prepared, calibration_rows)
    names = write_files(density, run.prepared, output)
    saved = storage.read_json(storage.join(output, "model.json"))
    return {
        "inputs": {"prepared": run.prepared, "job_key": prepared["job_key"]},
        "config": {"model": run.model, "train": run.training.model_dump(mode="json")},
        "fingerprint": saved["info"]["fingerprints"]["model"],
        "best_epoch": state.best_epoch,
        "valid_nll": state.best_nll,
        "stopped": state.stopped,
        "warm_start": started_from,
        "seconds": state.seconds,
        "history": state.history,
        "rows": prepared["rows"],
        "files": [manifest.file_entry(output, n, calibration_rows) for n in names],
    }


def write_files(density: TableDensity, prepared: str, output: str) -> list[str]:
    """Write the files of a model folder, with reference data of its calibration rows.

    Args:
        density: The model, with the scores of the calibration rows.
        prepared: Folder of the prepared dataset with these rows.
        output: Folder to write.

    Returns:
        The names of the files.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if density.calibration:
            rows = partial(calibration_batches, prepared)
            content = reference.build(density, rows).to_dict()
            path = folder / reference.FILE
            path.write_text(json.dumps(content) + "\n")
            files = {reference.FILE: file_hash(path)}
            density.info = {**density.info, "files": files}
        save_density(density, folder)
        names = sorted(path.name for path in folder.iterdir())
        for name in names:
            with storage.publish(storage.join(output, name)) as unfinished:
                shutil.copyfile(folder / name, unfinished)
    return names


def split_rule(prepared: str, content: Json) -> Json:
    """Return the rule that split the dataset, and which files it was made of.

    The gate applies it to find the rows that a model was trained on.

    Args:
        prepared: Folder of the prepared dataset.
        content: Its manifest.

    Returns:
        `config` (of the dataset), `boundaries` (of a split by time) and `contents`
        (hashes of the files).
    """
    profile = storage.read_json(storage.join(prepared, "profile.json"))
    return {
        "config": content["config"],
        "boundaries": profile["boundaries"],
        "contents": sorted({file["content"] for file in content["sources"].values()}),
    }


def stored_nearness(density: TableDensity, prepared: str) -> Nearness | None:
    """Return the train rows that are stored with a model, spread over all files.

    Args:
        density: The model.
        prepared: Folder of the prepared dataset.
    """
    encoder = density.encoder
    rows = sample_rows(
        storage.join(prepared, "encoded", "train"), stored_rows(encoder.dim)
    )
    return Nearness.of(encoder, rows)


def calibration_scores(
    density: TableDensity, prepared: str, rows: int
) -> dict[str, np.ndarray]:
    """Score the calibration rows by every anomaly statistic.

    Args:
        density: The model.
        prepared: Folder of the prepared dataset.
        rows: Number of its calibration rows, for progress reports.

    Returns:
        The scores by statistic, each (rows,), in the order of the rows.
    """
    batches: dict[str, list[np.ndarray]] = {}
    done = 0
    for table in calibration_batches(prepared):
        for statistic, scores in density.reference_scores(table).items():
            batches.setdefault(statistic, []).append(scores)
        done += len(table)
        progress.report(logger, "train: calibration rows", done, rows)
    return {statistic: np.concatenate(scores) for statistic, scores in batches.items()}


def calibration_batches(prepared: str) -> Iterator[pa.Table]:
    """Yield the calibration rows of a prepared dataset in order, a batch at a time."""
    folder = storage.join(prepared, "calibration")
    for name in storage.list_files(folder):
        filesystem, inner = storage.resolve(storage.join(folder, name))
        with pq.ParquetFile(filesystem.open_input_file(inner)) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])
