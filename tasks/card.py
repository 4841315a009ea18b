"""The card of a registered version: what it is, what it is good for, how to read it."""

from typing import Any

from ar_models.density import TableDensity
from tasks.config import CardConfig

Json = dict[str, Any]  # JSON values

READING = """\
- `log_prob`: the log-probability of the whole row, in nats; for real columns a density
  per unit of the column, so it may be positive. Compare rows of this model only.
- `anomaly_score`: higher is stranger. `p_value`: the share of calibration rows at least
  as strange, so one row in a hundred has less than 0.01 by chance; among many rows read
  `q_value` where there is one. `severity`: the percentage of calibration rows that are
  less strange.
- `explanation`: the columns to blame, with what was expected. It says what is unusual,
  not what is wrong, and not why.
- What never occurred in training (a new category, a null where there were none) is
  possible but very unlikely.
"""


def write(
    name: str,
    density: TableDensity,
    about: Json,
    profiled: Json,
    evaluated: Json,
    config: CardConfig,
) -> str:
    """The card, as Markdown.

    Args:
        name: Of the registered model.
        density: The model.
        about: The manifest of its prepared dataset.
        profiled: The profile of that dataset.
        evaluated: Its evaluation.
        config: What only a person knows.
    """
    rows = about["rows"]
    fingerprints = density.info["fingerprints"]
    facts = [
        ("Licence", config.licence or "not stated"),
        ("Rows", ", ".join(f"{split} {count:,}" for split, count in rows.items())),
        ("Period", period(profiled) or "no column holds points in time"),
        ("Dataset", f"fingerprint {about['inputs']['dataset']}"),
        ("Model", f"fingerprint {fingerprints['model'][:16]}"),
        ("Test NLL", f"{evaluated['nll']:.4f} nats per row{bound(evaluated)}"),
        ("Independent columns", f"{evaluated['independent_nll']:.4f} nats per row"),
    ]
    if evaluated["p_value_ks"] is not None:
        facts.append(("p-values", f"KS {evaluated['p_value_ks']:.4f} from uniform"))
    return "\n".join(
        [
            f"# {name}",
            "",
            config.description or "A density model of the rows of a table.",
            "",
            *(f"- **{fact}**: {value}" for fact, value in facts),
            "",
            "## How scores are to be read",
            "",
            READING,
            "## Limits",
            "",
            *(f"- {limit}" for limit in limits(density, evaluated, config)),
            "",
        ]
    )


def bound(evaluated: Json) -> str:
    """That a figure is a bound only, where it is."""
    return ", or less: the family gives a bound" if evaluated["is_bound"] else ""


def limits(density: TableDensity, evaluated: Json, config: CardConfig) -> list[str]:
    """What the model cannot tell."""
    found = [config.limits] if config.limits else []
    found += [
        f"{left.name} is not modelled: {left.reason}"
        for left in density.encoder.left_out
    ]
    worst = max(evaluated["columns"], key=lambda column: column["ks"])
    found.append(
        f"The worst calibrated column is {worst['name']} (KS {worst['ks']:.3f} from "
        "uniform)."
    )
    if not density.calibration:
        found.append("There were no calibration rows, so there are no p-values.")
    return found


def period(profiled: Json) -> str | None:
    """From when to when the train rows are, by their columns of points in time."""
    found = [
        f"{column['name']} {column['quantiles']['0']} to {column['quantiles']['1']}"
        for column in profiled["columns"]
        if column["type"].startswith(("date", "timestamp")) and "quantiles" in column
    ]
    return "; ".join(found) or None
