"""The job that ranks a trained model's scores among other calibration rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ar_models.density.table_density import TableDensity
from tasks.config.data import DataConfig, SplitConfig
from tasks.data.fragments import Fragment
from tasks.data.training_data import open_training_data
from tasks.runtime import manifest, storage
from tasks.runtime.job import Job, JobResult
from tasks.runtime.model_store import fingerprint, load
from tasks.training.model_folder import calibration_scores, write_files
from tasks.training.train import read_prepared_manifest
from tasks.training.warm_start import find_mismatch

FORMAT = 1
"""Enters the job key; raised when a change of the code changes the results."""

SPLIT = SplitConfig(valid=0.02, calibration=0.6, test=0.3)
"""Split of rows that no model was trained on: most calibrate, the others test that."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True, kw_only=True)
class RecalibrateResult(JobResult):
    """A model with new calibration rows.

    Attributes:
        fingerprint: Hash of the model, which differs from that of the model before.
        calibration_rows: Number of new calibration rows.
        replaced_rows: Number of calibration rows that they replace.
    """

    fingerprint: str
    calibration_rows: int
    replaced_rows: int


def recalibrate(
    model: str, prepared: str, output: str, version: str | None
) -> RecalibrateResult:
    """Write a copy of a model whose scores are ranked among other calibration rows.

    Weights, encoder and stored training rows stay; the scores of the calibration rows
    and the reference data of `monitor` are made anew.

    Args:
        model: Folder of the model, local or S3.
        prepared: Folder of a dataset that was prepared with the model's encoder; its
            calibration rows are used.
        output: Folder to write; `{key}` in it stands for the job key.
        version: Number of the model's version, if it has one. The new version names
            it, or the one that it was itself calibrated from.

    Raises:
        FileNotFoundError: `prepared` is not a finished prepared dataset.
        ValueError: The dataset was prepared with another encoder.
    """
    about = read_prepared_manifest(prepared)
    density = load(model)
    if about["encoder"] != density.encoder.fingerprint:
        raise ValueError(
            f"{prepared}: was prepared with another encoder than that of {model}; "
            "prepare the dataset with the encoder of the model"
        )
    identity = {
        "format": FORMAT,
        # Not the calibration rows: calibrating again on the same rows changes nothing.
        **{part: density.info["fingerprints"][part] for part in ("weights", "encoder")},
        "prepared": about["job_key"],
    }
    job = Job("recalibrate", output, identity)

    def work() -> Json:
        rows = about["rows"]["calibration"]
        origin = _origin(density, version)
        info = {**density.info, "job_key": job.key, "recalibrated": origin}
        scores = calibration_scores(density, prepared, rows)
        updated = TableDensity(
            density.encoder, density.model, scores, info, density.nearness
        )
        names = write_files(updated, prepared, job.path)
        saved = storage.read_json(storage.join(job.path, "model.json"))
        return {
            "inputs": {"prepared": prepared, "job_key": about["job_key"]},
            "model": origin,
            "fingerprint": saved["info"]["fingerprints"]["model"],
            "calibration_rows": rows,
            "replaced_rows": len(density.calibration.get("log_prob", ())),
            "rows": about["rows"],
            "files": [manifest.file_entry(job.path, name, rows) for name in names],
        }

    return job.run(work, RecalibrateResult)


def _origin(density: TableDensity, version: str | None) -> Json:
    """Return what identifies the model that was trained, and its version."""
    earlier: Json | None = density.info.get("recalibrated")
    return earlier or {"fingerprint": fingerprint(density), "version": version}


def calibration_data(data: DataConfig, path: str | None, model: str) -> DataConfig:
    """Return the configuration of the dataset that a model is calibrated on.

    Args:
        data: Configuration of the dataset that the model was trained on.
        path: Dataset of rows that the model was not trained on, most of which are to
            calibrate. By default, the calibration rows of `data` itself are used.
        model: Folder of the model.

    Raises:
        ValueError: The columns do not fit the model, or it was trained on a file.
    """
    if path is not None:
        data = data.model_copy(update={"path": path, "split": SPLIT})
    dataset = open_training_data(data)
    density = load(model)
    mismatch = find_mismatch(density.encoder, data, dataset.schema)
    if mismatch is not None:
        raise ValueError(f"{data.path}: {mismatch}; train a model on these rows")
    if path is not None:
        _check_unseen(dataset.fragments, density.info)
    return data


def _check_unseen(fragments: Iterable[Fragment], info: Mapping[str, Any]) -> None:
    """Raise ValueError if a file is one of those that a model was trained on."""
    known = set((info.get("split_rule") or {}).get("contents", ()))
    for fragment in fragments:
        if fragment.content[:16] in known:
            raise ValueError(
                f"{fragment.path}: the model was trained on rows of this file, which "
                "are less anomalous than new ones; calibrate on files with new rows, "
                "or without --input on the rows that data.split held out"
            )
