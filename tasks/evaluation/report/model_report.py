"""The report of a model, written as one HTML page."""

from dataclasses import asdict

from ar_models.scoring import choices
from ar_models.scoring.conformal import Rule
from tasks.config.score import ScoreConfig
from tasks.evaluation import evaluate
from tasks.evaluation.checks import read_checks, to_table
from tasks.evaluation.report import anomalous_rows, content, report_figures
from tasks.evaluation.report.report_figures import Evaluated
from tasks.reports import pages
from tasks.runtime import manifest, storage
from tasks.runtime.model_store import load

FORMAT = 5
"""Version of the page, part of the job key."""

REPORT = "report.html"

DEFAULT = ScoreConfig()


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
        name: storage.read_json(storage.join(folder, manifest.MANIFEST))
        for name, folder in folders.items()
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
    density = load(model)
    evaluated = Evaluated(
        density,
        storage.read_json(storage.join(evaluation, evaluate.EVALUATION)),
        evaluate.read_rows(evaluation),
        manifests["model"].get("history") or [],
        rule,
    )
    anomalous = anomalous_rows.most_anomalous(
        manifests["prepared"], prepared, evaluation
    )
    page = pages.render(
        "report.html.j2",
        key=key,
        name=name or density.info.get("name") or "the model",
        prepared=manifests["prepared"],
        result=evaluated.evaluation,
        tiles=content.tiles(evaluated.evaluation),
        columns=content.column_table(density, evaluated.evaluation),
        left_out=density.encoder.left_out,
        figures=report_figures.draw(
            evaluated,
            report_figures.sample_test_rows(density, prepared, manifests["prepared"]),
            anomalous,
        ),
        checks=[] if gate is None else to_table(read_checks(gate)),
        anomalous_rows=anomalous_rows.explain(density, anomalous),
        provenance=content.provenance(density, manifests),
        statistic=choices.DEFAULT_STATISTIC,
    )
    pages.write(path, page)
    return path
