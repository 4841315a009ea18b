"""The job that decides whether a challenger may replace the champion."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from ar_models.density.saved_form import WEIGHTS_FILE
from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.evaluation.checks import VERDICT_FILE, Check, Verdict, conclude
from tasks.evaluation.comparable import Comparable, check_same_columns, comparable
from tasks.registry.gate import calibration, cost, quality, rows
from tasks.registry.gate.load_check import check_loads
from tasks.registry.gate.predictions import predict
from tasks.runtime import manifest, storage
from tasks.runtime.job import Job, JobResult
from tasks.runtime.model_store import fingerprint, load

FORMAT = 5
"""Enters the job key; raised when a change of the code changes verdicts."""

Json = dict[str, Any]  # JSON-able values


@dataclass(frozen=True, kw_only=True)
class GateResult(JobResult, Verdict):
    """The gate's verdict on a challenger.

    Attributes:
        rows: Number of held-out rows that were compared.
    """

    rows: int

    @classmethod
    def derived_fields(cls, path: str, content: Json) -> Mapping[str, Any]:
        verdict: Json = storage.read_json(storage.join(path, VERDICT_FILE))
        return verdict


def gate(
    challenger: str,
    champion: str | None,
    prepared: str,
    output: str,
    config: GateConfig,
    *,
    logged: str | None = None,
    overwrite: bool = False,
) -> GateResult:
    """Decide whether a challenger may replace the champion; write gate.json.

    Both models score the newest test rows that the champion was not trained on. Without
    a champion, only the checks that need none are made.

    Args:
        challenger: Folder of the new model.
        champion: Folder of the champion, or None.
        prepared: Folder of the challenger's prepared dataset.
        output: Folder to write; `{key}` in it stands for the job key.
        config: Limits of the checks.
        logged: URI of the challenger as logged to MLflow, for the check that it loads
            without this project; by default, that check is skipped.
        overwrite: Whether the output of another job is replaced.

    Raises:
        ValueError: The dataset lacks a column that the configuration names.
    """
    about = manifest.read_finished(prepared)
    new = load(challenger)
    old = load(champion) if champion else None
    settings = config.model_dump(mode="json")
    depends_on = {
        "format": FORMAT,
        "challenger": fingerprint(new),
        "champion": fingerprint(old) if old else None,
        "prepared": about["job_key"],
        "config": settings,
    }
    job = Job("gate", output, depends_on, overwrite)

    def work() -> Json:
        weights = [f"{model}/{WEIGHTS_FILE}" for model in (challenger, champion)]
        sizes = [storage.file_size(path) for path in weights[: 2 if old else 1]]
        with ThreadPoolExecutor(1) as executor:
            # It waits for another process while this one runs the other checks.
            loading = executor.submit(check_loads, new, logged, prepared, about, config)
            checks, count = run_checks(new, old, prepared, about, config, sizes)
            checks += loading.result()
        verdict = asdict(conclude(checks)) | {"rows": count}
        storage.write_json(storage.join(job.path, VERDICT_FILE), verdict)
        return {
            "inputs": {"prepared": about["job_key"]},
            "model": {"fingerprint": fingerprint(new)},
            "config": settings,
            "files": [manifest.file_entry(job.path, VERDICT_FILE, 0)],
        }

    return job.run(work, GateResult)


def run_checks(
    new: TableDensity,
    old: TableDensity | None,
    prepared: str,
    about: Json,
    config: GateConfig,
    sizes: Sequence[int],
) -> tuple[list[Check], int]:
    """Run all checks but the one that loads the logged model.

    Args:
        new: The challenger.
        old: The champion, if there is one.
        prepared: Folder of the prepared dataset.
        about: Its manifest.
        config: Limits of the checks.
        sizes: Size of the weights of challenger and champion, in bytes.

    Returns:
        The checks, and the number of rows that were compared.
    """
    rows.check_configured_columns(about, prepared, config)
    if old is not None:
        same_columns = check_same_columns(new, old)
        if not same_columns.passed:
            return [same_columns], 0
    table, description = rows.select_rows(old or new, prepared, about, config)
    enough = quality.check_rows(table, description, config, compared=old is not None)
    if not enough.passed:
        return [enough], table.num_rows
    views = (Comparable(new), None) if old is None else comparable(new, old)
    ours = predict(views[0], table, "challenger")
    checks = [enough, quality.check_finite(ours)]
    if not checks[-1].passed:
        return checks, table.num_rows
    checks.append(quality.check_diversity(ours, new, table, config))
    checks += calibration.check_uniformity(ours, new, config)
    if old is None or views[1] is None:
        return checks, table.num_rows
    theirs = predict(views[1], table, "champion")
    gains = ours.log_prob - theirs.log_prob
    recalibrated = calibration.is_recalibrated(new, old)
    return [
        _mention_adjusted_columns(same_columns, views),
        *checks,
        calibration.check_recalibration(ours, theirs)
        if recalibrated
        else quality.check_improvement(gains, config),
        *quality.check_segments(gains, table, config),
        *quality.check_columns(new, old, ours, theirs, config),
        *calibration.check_calibration(ours, theirs, config),
        cost.check_latency(new, old, table, config),
        cost.check_size(sizes, config),
    ], table.num_rows


def _mention_adjusted_columns(
    check: Check, views: Sequence[Comparable | None]
) -> Check:
    names = sorted({name for view in views if view for name in view.adjusted_columns})
    if not names:
        return check
    remark = (
        f"{check.remark}; the models know different values of {', '.join(names)}, "
        "which are compared by the values that both distinguish"
    )
    return replace(check, remark=remark)
