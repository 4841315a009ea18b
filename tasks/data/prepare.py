"""From raw Parquet to a prepared dataset: splits, encoder, encoded rows.

Two streaming passes over the fragments run in parallel on Ray: the first sketches the
columns of the training rows, the second writes every row to its split and the encoded
rows of train and valid. Memory holds one fragment per worker. The split of a row
depends on the row alone, so both passes agree.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ar_models.tables.encoder import FORMAT, TableEncoder
from ar_models.tables.structs import is_presence
from tasks.config.data import DataConfig
from tasks.config.resources import Resources
from tasks.data import constraint_search, splits
from tasks.data.constraint_search import with_constraints, with_constraints_of
from tasks.data.datasets import BadFile, Dataset
from tasks.data.decimal_types import with_decimal_types
from tasks.data.division import PreparePlan
from tasks.data.encoding import part_name, read_receipts, write_fragments
from tasks.data.fit import describe_constraints, fit_encoder
from tasks.data.moments import find_boundaries
from tasks.data.prepared import (
    ENCODED,
    ENCODER,
    PROFILE,
    SCHEMA,
    describe_schema,
    read_encoder,
    read_profile,
)
from tasks.data.profile import constraint_text
from tasks.data.splits import SPLITS
from tasks.data.survey import check_splits, survey_rows
from tasks.data.training_data import open_training_data, with_struct_fields
from tasks.runtime import cluster, manifest, receipts, storage
from tasks.runtime.job import Job, JobResult

FIRST_RECEIPT = f"{receipts.FOLDER}/first-pass.json"
"""Receipt of the files that the first pass writes."""

BAD_FILES = "quarantine/files.json"
"""List of the files that were set aside, if there are any."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True, kw_only=True)
class PrepareResult(JobResult):
    """The outcome of preparing a dataset.

    Attributes:
        fingerprint: Hash of the dataset's files.
        encoder: Fingerprint of the encoder.
        rows: Number of rows by split.
        rows_quarantined: Number of rows that belong to no split.
        bad_files: Files that were set aside.
        missing_columns: Number of files that lack a column, and in which it is null.
        columns: Kind of each modelled column, or "left out".
        constraints: Constraints of derived columns, with their exceptions.
        rows_per_s: Rows per second of the call that prepared the dataset.
    """

    fingerprint: str
    encoder: str
    rows: dict[str, int]
    rows_quarantined: int
    bad_files: tuple[BadFile, ...]
    missing_columns: dict[str, int]
    columns: dict[str, str]
    constraints: tuple[str, ...]
    rows_per_s: float

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        return {"fingerprint": content["inputs"]["dataset"]}


class PrepareJob(Job):
    """A job whose parts, the files of a fragment in several folders, have receipts."""

    def finished_units(self) -> set[int]:
        bound = {"job_key": self.key}
        first = receipts.read_whole(self.path, FIRST_RECEIPT, bound)
        if first is None:
            return set()
        bound["first_pass"] = manifest.job_key(files=first["files"])
        return set(read_receipts(self.work_units, self.path, bound))


def prepare(
    data: DataConfig,
    output: str,
    resources: Resources,
    *,
    encoder: TableEncoder | None = None,
    overwrite: bool = False,
) -> PrepareResult:
    """Prepare a dataset, or complete a dataset whose preparation was stopped.

    Args:
        data: The dataset and how its columns are read.
        output: Directory for the prepared dataset, local or s3://; `{key}` stands for
            the job key.
        resources: Where to compute.
        encoder: Encodes the rows instead of an encoder fitted to them, so that the
            model it belongs to can continue training.
        overwrite: Whether the output of another job may be replaced.

    Raises:
        ValueError: The data or the configuration is invalid; the message names file,
            column and remedy.
    """
    began = time.monotonic()
    dataset = open_training_data(data)
    if encoder is not None:
        encoder.check(dataset.schema)
        encoder = encoder.without_weights()
    depends_on = {
        "dataset": dataset.fingerprint,
        "data": data.model_dump(mode="json", exclude={"path"}),
        "encoder": encoder.fingerprint if encoder else FORMAT,
        "split": splits.FORMAT,
        # Left out where there are none, so that earlier results keep their keys.
        **({"structs": "fields"} if any(map(is_presence, dataset.schema)) else {}),
        "constraints": constraint_search.FORMAT,
    }
    job = PrepareJob("prepare", output, depends_on, overwrite, began, dataset)

    def work() -> Json:
        cluster.connect(resources)
        content = _prepare(dataset, data, job, encoder)
        return {**content, "rows_per_s": job.rows_per_s(content["rows_out"])}

    return job.run(work, PrepareResult)


def _prepare(
    dataset: Dataset, data: DataConfig, job: Job, given: TableEncoder | None
) -> Json:
    """Run both passes and return the content of the manifest."""
    folder, bound = job.path, {"job_key": job.key}
    plan = PreparePlan.of(dataset, with_struct_fields(data, dataset.schema))
    first = receipts.read_whole(folder, FIRST_RECEIPT, bound)
    if first is None:
        first = _run_first_pass(dataset, plan, folder, given, bound)
    encoder, profile = read_encoder(folder), read_profile(folder)
    plan = replace(plan, boundaries=tuple(profile["boundaries"]))
    bad = profile["bad_files"]
    bad_names = {entry["name"] for entry in bad}
    fragments = [f for f in dataset.fragments if f.name not in bad_names]
    bound["first_pass"] = manifest.job_key(files=first["files"])
    written = write_fragments(fragments, plan, encoder, folder, bound)
    rows = {s: sum(r.rows[s] for r in written) for s in SPLITS}
    return {
        "inputs": {"dataset": dataset.fingerprint},
        "config": data.model_dump(mode="json", exclude={"path"}),
        "encoder": encoder.fingerprint,
        "columns": {c.name: c.kind for c in encoder.columns}
        | {c.name: "left out" for c in encoder.left_out},
        "constraints": [constraint_text(entry) for entry in profile["constraints"]],
        "rows": rows,
        # Nats per row to add to the network's log-probability of encoded rows.
        "log_abs_det": {
            s: sum(r.log_abs_det[s] for r in written) / max(rows[s], 1) for s in ENCODED
        },
        "rows_in": dataset.rows,
        "rows_out": sum(rows.values()),
        "rows_quarantined": sum(r.quarantined for r in written)
        + sum(entry["rows"] for entry in bad),
        "bad_files": bad,
        "missing_columns": dataset.missing_columns,
        # Source of each file of encoded train rows.
        "sources": {
            part_name(f): {"name": f.name, "content": f.content[:16]} for f in fragments
        },
        "files": first["files"] + [entry for r in written for entry in r.files],
    }


def _run_first_pass(
    dataset: Dataset,
    plan: PreparePlan,
    folder: str,
    given: TableEncoder | None,
    bound: Json,
) -> Json:
    """Survey the rows, fit the encoder, write the files and return their receipt."""
    bad = list(dataset.bad_files)
    if plan.data.split.by == "time":
        boundaries, unreadable = find_boundaries(dataset, plan)
        plan = replace(plan, boundaries=boundaries)
        bad += unreadable
    bad_names = {file.name for file in bad}
    fragments = [f for f in dataset.fragments if f.name not in bad_names]
    plan = with_decimal_types(plan, fragments)
    if given is not None:
        plan = with_constraints_of(plan, given)
    else:
        plan = with_constraints(plan, fragments, dataset.schema)
    survey, unreadable = survey_rows(plan, fragments)
    bad += unreadable
    check_splits(survey, plan.data, dataset.rows)
    encoder, entries = fit_encoder(survey, plan, dataset.schema)
    bad_files = [asdict(file) for file in bad]
    if bad_files:
        storage.write_json(storage.join(folder, BAD_FILES), bad_files)
    schema = describe_schema(dataset.schema)
    storage.write_json(storage.join(folder, SCHEMA), schema)
    storage.write_json(
        storage.join(folder, PROFILE),
        {
            "rows": dict(zip(SPLITS, survey.counts.tolist(), strict=True)),
            "quarantined": survey.quarantined,
            "boundaries": list(plan.boundaries),
            "bad_files": bad_files,
            "columns": entries,
            "constraints": describe_constraints(survey, plan, given or encoder),
        },
    )
    storage.write_json(storage.join(folder, ENCODER), (given or encoder).to_dict())
    names = [SCHEMA, PROFILE, ENCODER, *([BAD_FILES] if bad_files else [])]
    receipt = {"files": [manifest.file_entry(folder, name, 0) for name in names]}
    receipts.write(storage.join(folder, FIRST_RECEIPT), bound, receipt)
    return receipt
