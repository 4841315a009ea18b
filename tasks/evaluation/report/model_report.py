"""The report of a model, written as one HTML page."""

import logging
from dataclasses import asdict
from typing import Any

from ar_models.scoring import choices
from ar_models.scoring.conformal import Rule
from tasks.config.score import ScoreConfig
from tasks.data.prepared import read_profile
from tasks.evaluation import evaluate
from tasks.evaluation.checks import read_checks, to_table
from tasks.evaluation.report import anomalous_rows, content, report_figures
from tasks.evaluation.report.report_figures import Evaluated
from tasks.reports import pages
from tasks.runtime import manifest, storage
from tasks.runtime.model_store import load

logger = logging.getLogger(__name__)

FORMAT = 6
"""Version of the page, part of the job key."""

REPORT = "report.html"

DEFAULT = ScoreConfig()

Json = dict[str, Any]  # JSON values
Folders = dict[str, str]
"""Directories of what a report is about, by kind."""


def write_report(
    model: str,
    prepared: str,
    evaluation: str,
    output: str,
    *,
    name: str | None = None,
    gate: str | None = None,
    config: ScoreConfig = DEFAULT,
) -> str:
    """Write the report of a model, report.html, unless it is there already.

    A report that cannot be rendered is a warning, and the page gives the reason: no
    model fails for want of a page about it.

    Args:
        model: Directory of the trained model.
        prepared: Directory of the prepared dataset.
        evaluation: Directory of the model's evaluation.
        output: Directory for the report, which may be that of the evaluation.
        name: Name in the heading; defaults to that of the model.
        gate: Directory of the gate's verdict on the model, if there is one.
        config: Settings of scoring, which decide the rows that are anomalies.

    Returns:
        The path of the page.
    """
    folders = {"model": model, "prepared": prepared, "evaluation": evaluation}
    if gate is not None:
        folders["gate"] = gate
    manifests = {
        name: manifest.read_finished(folder) for name, folder in folders.items()
    }
    rule = Rule.of(config.threshold, config.fdr, config.budget)
    key = manifest.job_key(
        task="report",
        format=FORMAT,
        name=name,
        rule=asdict(rule),
        **{name: content["job_key"] for name, content in manifests.items()},
    )
    path = storage.join(output, REPORT)
    if storage.exists(path) and pages.read_job_key(path) == key:
        return path
    try:
        page = _render(key, name, folders, manifests, rule)
    except Exception as error:  # whatever unforeseen values may raise
        reason = f"{type(error).__name__}: {error}"
        logger.warning("the report was not written: %s", reason, exc_info=True)
        # Without a job key, the next call tries again.
        heading = name or "the model"
        page = pages.render("failed.html.j2", key="", name=heading, reason=reason)
    pages.write(path, page)
    return path


def _render(
    key: str, name: str | None, folders: Folders, manifests: Json, rule: Rule
) -> str:
    """Render the report.

    Args:
        key: The job key.
        name: Name in the heading; that of the model if None.
        folders: Directories of the `model`, the `prepared` dataset, the `evaluation`
            and, if there is one, the verdict of the `gate`.
        manifests: Their manifests.
        rule: The rule that flags rows as anomalies.
    """
    density, about = load(folders["model"]), manifests["prepared"]
    prepared, evaluation = folders["prepared"], folders["evaluation"]
    result = storage.read_json(storage.join(evaluation, evaluate.EVALUATION))
    rows = evaluate.read_rows(evaluation)
    history = manifests["model"].get("history") or []
    real = report_figures.sample_test_rows(density, prepared, about)
    anomalous = anomalous_rows.most_anomalous(about, prepared, evaluation)
    evaluated = Evaluated(density, result, rows, history, rule)
    return pages.render(
        "report.html.j2",
        key=key,
        name=name or density.info.get("name") or "the model",
        prepared=about,
        result=result,
        tiles=content.tiles(result),
        columns=content.column_table(density, result),
        left_out=density.encoder.left_out,
        constraints=content.constraint_table(read_profile(prepared)),
        figures=report_figures.draw(evaluated, real, anomalous),
        checks=to_table(read_checks(folders["gate"])) if "gate" in folders else [],
        anomalous_rows=anomalous_rows.explain(density, anomalous),
        provenance=content.provenance(density, manifests),
        statistic=choices.DEFAULT_STATISTIC,
    )
