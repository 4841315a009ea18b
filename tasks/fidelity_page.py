"""The page about synthetic rows: measures, and marginals side by side."""

from typing import Any

import jinja2
import matplotlib
import pyarrow as pa

from ar_models.density import TableDensity
from tasks import figures, page

STYLE = f"<style>\n{page.STYLE}</style>"
"""The look of the report."""

ROWS = 4096
"""Rows of each table that figures are drawn from, at most."""

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
total variation over ten quantile bins or the ten commonest categories. The least alike
columns come first.</p>
{% if images.marginals is defined %}
<img src="{{ images.marginals }}" alt="Distribution of each column, real and synthetic">
{% endif %}
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

{% for name, image in images.items() if name.startswith("images") %}
<section>
<h2>Images</h2>
<p class="soft">Held-out images on the left, synthetic ones on the right.</p>
<img src="{{ image }}" alt="Real and synthetic images">
</section>
{% endfor %}

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
    name: str,
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
        name=name,
        found=found,
        tiles=tiles(found),
        columns=column_table(density, found),
        images=images(
            density, held_out.slice(0, ROWS), synthetic.slice(0, ROWS), found
        ),
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
    """A row for each column, or what is told of a sequence, the least alike first.

    Of an image one for its least alike pixel.
    """
    accuracy = found["univariate"]["columns"]
    wrong = found["support"]["wrong_cells"]
    pictured = {
        name: image for image in density.encoder.images for name in image.columns
    }
    rows: list[Json] = []
    for column in density.encoder.columns:
        cells = sum(wrong.get(column.name, {}).values())
        image = pictured.get(column.name)
        if image is None or len(image.columns) == 1:
            names = found["summaries"].get(column.name, [column.name])
        elif column.name == image.columns[0]:
            names = list(image.columns)
            cells = sum(sum(wrong.get(name, {}).values()) for name in names)
        else:
            continue
        if image is not None:
            least = min(names, key=accuracy.__getitem__)
            label = f"{names[0]} … {names[-1]}, least alike: {least}"
            shown = {label: accuracy[least]}
        else:
            shown = {name: accuracy[name] for name in names}
        for name, value in shown.items():
            row = {"name": name, "kind": column.kind, "accuracy": value, "wrong": cells}
            rows.append(row)
    return sorted(rows, key=lambda row: row["accuracy"])


def images(
    density: TableDensity, held_out: pa.Table, synthetic: pa.Table, found: Json
) -> dict[str, str]:
    """The page's figures as data URLs, by name."""
    tables = [held_out, synthetic]
    (real, drawn_rows), names = figures.plain(tables, density)
    with matplotlib.rc_context(figures.STYLE):
        drawn = {
            f"images{k}": figures.images(tables, image)
            for k, image in enumerate(density.encoder.images)
        }
        names.sort(key=found["univariate"]["columns"].__getitem__)
        if names:
            drawn["marginals"] = figures.marginals(real, drawn_rows, names)
        return {name: figures.data_url(figure) for name, figure in drawn.items()}
