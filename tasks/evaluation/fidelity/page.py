"""The HTML page about the fidelity of synthetic rows."""

from functools import partial
from typing import Any

import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.reports import figures, images, marginals, pages

ROWS = 4096
"""Maximum number of rows of each table that figures are drawn from."""

Json = dict[str, Any]  # JSON values


def render(
    key: str,
    name: str,
    density: TableDensity,
    tables: tuple[pa.Table, pa.Table],
    result: Json,
) -> str:
    """Render the page about synthetic rows.

    Args:
        key: The job key.
        name: Name of the model.
        density: The model.
        tables: Held-out and synthetic rows.
        result: The content of fidelity.json.
    """
    return pages.render(
        "fidelity.html.j2",
        key=key,
        name=name,
        result=result,
        tiles=tiles(result),
        columns=column_table(density, result),
        figures=draw(density, [table.slice(0, ROWS) for table in tables], result),
    )


def tiles(result: Json) -> list[pages.Tile]:
    """Return the key figures of the fidelity of synthetic rows."""
    columns, pairs = result["univariate"], result["bivariate"]
    auc, implausible = result["two_sample_auc"], result["plausibility"]["rows"]
    shown = [
        (
            "Univariate accuracy",
            columns["synthetic"],
            f"training rows {columns['train']:.3f}",
        ),
        (
            "Bivariate accuracy",
            pairs["synthetic"],
            f"training rows {pairs['train']:.3f}",
        ),
        (
            "Two-sample AUC",
            auc["synthetic"],
            "against held-out rows, 0.5 is indistinguishable; training rows "
            f"{auc['train']:.3f}",
        ),
        (
            "Implausible rows",
            implausible["synthetic"],
            "share of synthetic rows that violate a rule of real rows; held-out rows "
            f"{implausible['held_out']:.3f}",
        ),
        (
            "Closest record",
            result["closest"]["share"],
            "share of synthetic rows closer to training than to held-out rows; 0.5 "
            "without memorisation",
        ),
    ]
    downstream = result["downstream"]
    if downstream:
        name = "AUC" if downstream["measure"] == "auc" else "R²"
        remark = (
            f"predictions of {downstream['target']} in held-out rows; trained on "
            f"training rows {downstream['train']:.3f}"
        )
        shown.append((f"Downstream {name}", downstream["synthetic"], remark))
    log_prob = result["log_prob"]
    low, high = log_prob["held_out_interval"]
    shown.append(
        (
            "Log-probability gap",
            log_prob["gap"],
            f"nats per row; held-out rows {log_prob['held_out']:.2f} ({low:.2f} to "
            f"{high:.2f})",
        )
    )
    return [pages.Tile(name, f"{value:.3f}", remark) for name, value, remark in shown]


def column_table(density: TableDensity, result: Json) -> list[Json]:
    """Return accuracy and cells out of support by column, the least accurate first.

    An image is one row of the table, with the accuracy of its least accurate pixel.
    """
    blocks = {
        image.columns[0]: list(image.columns) for image in images.pixel_blocks(density)
    }
    pixels = {name for names in blocks.values() for name in names}
    rows: list[Json] = []
    for column in density.encoder.columns:
        if column.name in pixels and column.name not in blocks:
            continue
        modelled = blocks.get(column.name, [column.name])
        accuracies = _accuracies(density, column.name, modelled, result)
        cells = sum(
            sum(result["support"]["wrong_cells"].get(name, {}).values())
            for name in modelled
        )
        for name, accuracy in accuracies.items():
            rows.append(
                {
                    "name": name,
                    "kind": column.kind,
                    "accuracy": accuracy,
                    "out_of_support": cells,
                }
            )
    return sorted(rows, key=lambda row: row["accuracy"])


def _accuracies(
    density: TableDensity, column: str, modelled: list[str], result: Json
) -> dict[str, float]:
    """Return the accuracies to show for a column, by label."""
    accuracy = result["univariate"]["columns"]
    names = modelled
    if len(modelled) == 1:
        names = result["summaries"].get(column, modelled)
    if column in {name for image in density.encoder.images for name in image.columns}:
        least = min(names, key=accuracy.__getitem__)
        label = f"{names[0]} … {names[-1]}, least accurate: {least}"
        return {label: accuracy[least]}
    return {name: accuracy[name] for name in names}


def draw(density: TableDensity, tables: list[pa.Table], result: Json) -> dict[str, str]:
    """Draw the figures of held-out and synthetic rows, as data URLs by name."""
    (real, synthetic), names = marginals.flatten_columns(tables, density)
    names.sort(key=result["univariate"]["columns"].__getitem__)
    drawn: dict[str, Any] = {
        f"images{k}": partial(images.draw_images, tables, image)
        for k, image in enumerate(density.encoder.images)
    }
    if names:
        drawn["marginals"] = partial(marginals.draw_marginals, real, synthetic, names)
    return figures.to_data_urls(drawn)
