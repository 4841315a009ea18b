"""The page about synthetic rows: measures, and marginals side by side."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from ar_models.density import TableDensity
from tasks import figures, page

STYLE = f"<style>\n{page.STYLE}</style>"
"""The look of the report."""

ROWS = 4096
"""Rows of each table that figures are drawn from, at most."""

GRID = 8
"""Images in each row and column of a grid."""

Json = dict[str, Any]  # JSON values

PAGE = (
    """<!doctype html>
<!-- job {{ key }} -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: synthetic rows</title>
"""
    + STYLE
    + """
</head>
<body>
<main>
<h1>{{ name }}: synthetic rows</h1>
<p class="soft">{{ "{:,}".format(found.rows.synthetic) }} synthetic rows against
{{ "{:,}".format(found.rows.train) }} train rows and
{{ "{:,}".format(found.rows.held_out) }} rows that the model has not seen.</p>

<div class="tiles">
{% for tile in tiles %}
<div class="tile">{{ tile.name }}<b>{{ tile.value }}</b>
<span>{{ tile.remark }}</span></div>
{% endfor %}
</div>

<section>
<h2>Marginals</h2>
<p class="soft">Held-out rows in grey, synthetic rows in blue. Accuracy: 1 minus the
total variation over ten quantile bins or the ten commonest categories.</p>
<img src="{{ images.marginals }}" alt="Distribution of each column, real and synthetic">
<div class="wide"><table>
<tr><th>column</th><th>kind</th><th class="n">accuracy</th>
<th class="n">wrong cells</th></tr>
{% for column in columns %}
<tr><td>{{ column.name }}</td><td>{{ column.kind }}</td>
<td class="n">{{ "%.4f" | format(column.accuracy) }}</td>
<td class="n">{{ column.wrong }}</td></tr>
{% endfor %}
</table></div>
{% if found.bivariate.worst %}
<p class="soft" style="margin-top:14px">Least alike together:
{% for pair in found.bivariate.worst %}<b>{{ pair.columns | join(" and ") }}</b>
({{ "%.3f" | format(pair.accuracy) }}){% if not loop.last %}, {% endif %}
{% endfor %}.</p>
{% endif %}
</section>

{% if images.grid %}
<section>
<h2>Images</h2>
<p class="soft">Held-out images on the left, synthetic ones on the right.</p>
<img src="{{ images.grid }}" alt="Real and synthetic images">
</section>
{% endif %}

<section>
<h2>Support</h2>
<p class="soft">Cells that are null, a category or a value as no train row has them, and
combinations that the train rows rule out: a value that always goes with one value of
another column.</p>
<p>{{ "%.3f" | format(100 * found.support.wrong_rows) }} % of the rows have a wrong
cell. {{ found.support.dependences }} dependences between columns hold in all train rows
{%- if found.support.broken_dependences %}; not always in synthetic ones:{% else %}, and
in all synthetic ones.{% endif %}</p>
{% if found.support.broken_dependences %}
<div class="wide"><table>
<tr><th>column</th><th>determines</th><th class="n">held-out rows off</th>
<th class="n">synthetic rows off</th></tr>
{% for each in found.support.broken_dependences %}
<tr><td>{{ each.column }}</td><td>{{ each.determines }}</td>
<td class="n">{{ "%.3f" | format(100 * each.held_out) }} %</td>
<td class="n">{{ "%.3f" | format(100 * each.synthetic) }} %</td></tr>
{% endfor %}
</table></div>
{% endif %}
</section>
</main>
</body>
</html>
"""
)


def render(
    key: str,
    density: TableDensity,
    held_out: pa.Table,
    synthetic: pa.Table,
    found: Json,
) -> str:
    """The page; everything that comes from data is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.from_string(PAGE).render(
        key=key,
        name=density.info.get("name") or "the model",
        found=found,
        tiles=tiles(found),
        columns=column_table(density, found),
        images=images(density, held_out.slice(0, ROWS), synthetic.slice(0, ROWS)),
    )


def tiles(found: Json) -> list[Json]:
    """The main figures: name, value and what it means."""
    one, two, auc = found["univariate"], found["bivariate"], found["two_sample_auc"]
    shown = [
        ("Univariate accuracy", one["synthetic"], f"train rows {one['train']:.3f}"),
        ("Bivariate accuracy", two["synthetic"], f"train rows {two['train']:.3f}"),
        (
            "Two-sample AUC",
            auc["synthetic"],
            f"against train rows, 0.5 is alike; held-out rows {auc['held_out']:.3f}",
        ),
        (
            "Closest record",
            found["closest"]["share"],
            "share nearer to train than to held-out rows; 0.5 is no memory",
        ),
    ]
    task = found["downstream"]
    if task:
        name = "AUC" if task["measure"] == "auc" else "R²"
        remark = f"of {task['target']} on held-out rows; from train {task['train']:.3f}"
        shown.append((f"Downstream {name}", task["synthetic"], remark))
    own = found["log_prob"]
    low, high = own["held_out_interval"]
    shown.append(
        (
            "Log-probability gap",
            own["gap"],
            f"nats; held-out rows {own['held_out']:.2f} ({low:.2f} to {high:.2f})",
        )
    )
    return [{"name": n, "value": f"{v:.3f}", "remark": r} for n, v, r in shown]


def column_table(density: TableDensity, found: Json) -> list[Json]:
    """A row for each modelled column."""
    wrong = found["support"]["wrong_cells"]
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "accuracy": found["univariate"]["columns"][column.name],
            "wrong": sum(wrong.get(column.name, {}).values()),
        }
        for column in density.encoder.columns
    ]


def images(
    density: TableDensity, held_out: pa.Table, synthetic: pa.Table
) -> dict[str, str | None]:
    """The page's figures as data URLs, by name."""
    with matplotlib.rc_context(figures.STYLE):
        drawn = figures.marginals(held_out, synthetic, density.columns)
        grid = image_grid(density, [held_out, synthetic])
        return {
            "marginals": data_url(drawn),
            "grid": None if grid is None else data_url(grid),
        }


def image_grid(density: TableDensity, tables: Sequence[pa.Table]) -> Figure | None:
    """Rows as images, where the model knows their height and width."""
    settings = density.model.config()
    shape = [settings.get(name) for name in ("height", "width", "channels")]
    if None in shape:
        return None
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for axes, table in zip(figure.subplots(1, 2), tables, strict=True):
        x = density.encoder.encode(table.slice(0, GRID * GRID)).x
        height, width, channels = (int(side) for side in shape if side is not None)
        pixels = np.zeros((GRID * GRID, height, width, channels), np.float32)
        pixels[: len(x)] = np.nan_to_num(x).reshape(-1, height, width, channels)
        tiled = pixels.reshape(GRID, GRID, height, width, channels)
        whole = tiled.transpose(0, 2, 1, 3, 4).reshape(GRID * height, GRID * width, -1)
        shade = whole[..., :3] if channels >= 3 else whole[..., 0]
        axes.imshow(shade / max(float(shade.max()), 1.0), cmap="gray")
        axes.set_axis_off()
    return figure


def data_url(figure: Figure) -> str:
    """A figure as a PNG within a URL."""
    buffer = io.BytesIO()
    figures.write(figure, buffer)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
