"""The model card of a registered version: data, figures, how to read scores, limits."""

from typing import Any

from ar_models.density.table_density import TableDensity
from tasks.config.model_card import ModelCardConfig
from tasks.data.profile import constraint_text
from tasks.runtime import manifest, storage

HOW_TO_READ = """\
- `log_prob` is the log-probability of the whole row, in nats. For real columns it is a
  density per unit of the column, so it can be positive. Compare it only between rows
  scored by this model.
- `anomaly_score` ranks rows: higher is more anomalous.
- `p_value` is the share of calibration rows that are at least as anomalous: of ordinary
  rows, 1 % have a p-value below 0.01. Among many rows, use `q_value` where it is given.
- `severity` is the percentage of calibration rows that are less anomalous.
- `explanation` lists the columns that contribute most to the anomaly score, with the
  expected values. It shows what is unusual, not whether it is wrong, and not why.
- A value that never occurred in training (a new category, or a null in a column without
  nulls) is possible, but has a very low probability.
"""

CONSTRAINTS = """\
Formulas that give a column from other cells of the same row, and inequalities, with the
share of the training rows in which they hold. Synthetic rows satisfy them as often; a
row that violates one is more anomalous the rarer violations were in training.
"""

Json = dict[str, Any]  # JSON values


def render(
    name: str,
    density: TableDensity,
    prepared: str,
    evaluated: Json,
    config: ModelCardConfig,
) -> str:
    """Return the model card as Markdown.

    Args:
        name: Name of the registered model.
        density: The model.
        prepared: Folder of its prepared dataset.
        evaluated: Its evaluation, as in evaluation.json.
        config: Descriptions written by the user.
    """
    about = manifest.read_finished(prepared)
    profiled = storage.read_json(storage.join(prepared, "profile.json"))
    return "\n".join(
        [
            f"# {name}",
            "",
            config.description or "A density model of the rows of a table.",
            "",
            *(
                f"- **{label}**: {value}"
                for label, value in figures(
                    density, about, profiled, evaluated, config.license
                )
            ),
            "",
            *constraint_lines(profiled),
            "## How to read the scores",
            "",
            HOW_TO_READ,
            "## Limitations",
            "",
            *(f"- {line}" for line in limitations(density, evaluated, config)),
            "",
        ]
    )


def figures(
    density: TableDensity,
    about: Json,
    profiled: Json,
    evaluated: Json,
    license: str | None,
) -> list[tuple[str, str]]:
    """Return the labels and values at the top of the card.

    Args:
        density: The model.
        about: Manifest of its prepared dataset.
        profiled: Profile of that dataset.
        evaluated: Evaluation of the model.
        license: License of the model, if stated.
    """
    splits = about["rows"]
    origin = density.info.get("recalibrated")
    if origin is not None:
        splits = {name: splits[name] for name in ("calibration", "test")}
    rows = [f"{count:,} {split}" for split, count in splits.items()]
    bound = " (an upper bound)" if evaluated["is_bound"] else ""
    lines = [
        ("License", license or "not stated"),
        *([] if origin is None else [("Calibration", recalibration_text(origin))]),
        ("Rows", ", ".join(rows)),
        ("Period", training_period(profiled) or "no column with dates or timestamps"),
        ("Dataset fingerprint", about["inputs"]["dataset"]),
        ("Model fingerprint", density.info["fingerprints"]["model"][:16]),
        ("Test NLL", f"{evaluated['nll']:.4f} nats per row{bound}"),
        (
            "Test NLL of the baseline of independent columns",
            f"{evaluated['independent_nll']:.4f} nats per row",
        ),
    ]
    if evaluated["p_value_ks"] is not None:
        distance = f"{evaluated['p_value_ks']:.4f}"
        fault = evaluated.get("p_value_fault")
        if fault:
            # Markdown has no colours, and MLflow removes styles.
            distance = f"🔴 **{distance}: {fault}**"
        lines.append(("KS distance of test p-values from uniform", distance))
    return lines


def recalibration_text(origin: Json) -> str:
    """Return what a model was before it got other calibration rows.

    Args:
        origin: Entry `recalibrated` of the model's provenance.
    """
    version = origin["version"]
    before = f"version {version}" if version else f"model {origin['fingerprint'][:16]}"
    return (
        f"the weights are those of {before}, which says what it was trained on; rows, "
        "period and figures below are those of newer rows, by which it is calibrated"
    )


def constraint_lines(profiled: Json) -> list[str]:
    """Return the section about constraints, empty if there are none.

    Args:
        profiled: Profile of the prepared dataset.
    """
    if not profiled["constraints"]:
        return []
    found = [f"- {constraint_text(entry)}" for entry in profiled["constraints"]]
    return ["## Constraints", "", CONSTRAINTS, *found, ""]


def limitations(
    density: TableDensity, evaluated: Json, config: ModelCardConfig
) -> list[str]:
    """Return what the model should not be used for, and what it does not cover."""
    lines = [config.limitations] if config.limitations else []
    lines += [
        f"Column {column.name} is not modelled: {column.reason}."
        for column in density.encoder.left_out
    ]
    worst = max(evaluated["columns"], key=lambda column: column["ks"])
    lines.append(
        f"The column with the worst calibration is {worst['name']}: its KS distance "
        f"from uniform is {worst['ks']:.3f}."
    )
    if not density.calibration:
        lines.append("The dataset has no calibration rows, so there are no p-values.")
    return lines


def training_period(profiled: Json) -> str | None:
    """Return the first and last value of each date or timestamp column of the dataset.

    Args:
        profiled: Profile of the prepared dataset.
    """
    periods = [
        f"{column['name']} from {column['quantiles']['0']} to "
        f"{column['quantiles']['1']}"
        for column in profiled["columns"]
        if column["type"].startswith(("date", "timestamp")) and "quantiles" in column
    ]
    return "; ".join(periods) or None
