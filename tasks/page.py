"""Templates of the pages: HTML and CSS, without scripts or links."""

STYLE = """:root { --ink: #22272e; --soft: #5b6470; --line: #dfe3e8; --paper: #fff;
  --back: #f4f6f8; --blue: #2f6db3; --orange: #b96a17; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 0 0 4px; }
p { margin: 4px 0 12px; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
section { background: var(--paper); border: 1px solid var(--line);
  border-radius: 8px; padding: 20px 22px; margin-top: 18px; }
.tiles { display: grid; gap: 12px; margin-top: 18px;
  grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); }
.tile { background: var(--paper); border: 1px solid var(--line);
  border-radius: 8px; padding: 14px 18px; }
.tile b { display: block; font-size: 24px; font-weight: 600; color: var(--blue); }
.tile span { color: var(--soft); font-size: 13px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td.said { min-width: 240px; }
tr:last-child td { border-bottom: 0; }
img { display: block; max-width: 100%; height: auto; margin: 6px auto 0; }
.odd { border-top: 1px solid var(--line); padding: 12px 0; }
.odd:first-of-type { border-top: 0; }
.odd ul { margin: 4px 0 6px; padding-left: 20px; }
td.over { color: var(--orange); font-weight: 600; }
.odd .n { color: var(--orange); white-space: nowrap; }
summary { cursor: pointer; color: var(--soft); font-size: 13px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px;
  margin: 6px 0 0; font-size: 13px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) {
  main { padding: 18px 10px 40px; }
  section { padding: 16px 14px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 6px; }
  .wide img { max-width: none; width: 640px; }
}
"""

PAGE = """<!doctype html>
<!-- job {{ key }} -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: density model report</title>
<style>
{{ style | safe }}</style>
</head>
<body>
<main>
<h1>{{ name }}</h1>
<p class="soft">A density model of {{ found.columns | length }}
column{{ "" if found.columns | length == 1 else "s" }}, learned from
{{ about.prepared.rows.train | count }} rows and judged on
{{ found.rows | count }} test rows it has not seen.</p>

<div class="tiles">
{% for tile in tiles %}
<div class="tile">{{ tile.name }}<b>{{ tile.value }}</b>
<span>{{ tile.remark }}</span></div>
{% endfor %}
</div>

<section>
<h2>Columns</h2>
<p class="soft">Each column is predicted from those before it. NLL: minus its
log-probability on test rows, in nats; for real columns a density per unit, which may
make it negative. Gain: against the column on its own. KS: distance of its probability
integral transforms from uniform; 0 is calibrated. New: test cells that are like nothing
in training.</p>
<div class="wide"><table>
<tr><th>column</th><th>kind</th><th>type</th><th class="n">NLL</th>
<th class="n">alone</th><th class="n">gain</th><th class="n">KS</th>
<th class="n">new</th></tr>
{% for column in columns %}
<tr><td>{{ column.name }}</td><td>{{ column.kind }}</td><td>{{ column.type }}</td>
<td class="n">{{ column.nll | nats }}</td>
<td class="n">{{ column.independent_nll | nats }}</td>
<td class="n">{{ column.gain | nats }}</td>
<td class="n">{{ "%.3f" | format(column.ks) }}</td>
<td class="n">{{ column.escaped }}</td></tr>
{% endfor %}
</table></div>
{% if left_out %}
<p class="soft" style="margin-top:14px">Left out:
{% for left in left_out %}<b>{{ left.name }}</b> ({{ left.reason }})
{%- if not loop.last %}, {% endif %}{% endfor %}.</p>
{% endif %}
{% if images.gains is defined %}
<div class="wide"><img src="{{ images.gains }}"
alt="Gain of each column over independent columns"></div>
{% endif %}
{% for name, image in images.items() if name.startswith("pixels") %}
<div class="wide"><img src="{{ image }}"
alt="NLL, gain and KS distance of each pixel"></div>
{% endfor %}
</section>

{% if checks %}
<section>
<h2>The gate</h2>
<p class="soft">What the model had to show to become champion, on rows that neither it
nor the champion learned from; gains in nats per row against the champion.</p>
<div class="wide"><table>
<tr><th>check</th><th>passed</th><th class="n">found</th><th class="n">interval</th>
<th class="n">bound</th><th>remark</th></tr>
{% for check in checks %}
<tr><td>{{ check.check }}</td><td>{{ check.passed }}</td>
<td class="n">{{ check.found }}</td><td class="n">{{ check.interval }}</td>
<td class="n">{{ check.bound }}</td><td class="said">{{ check.remark }}</td></tr>
{% endfor %}
</table></div>
</section>
{% endif %}

<section>
<h2>The strangest test rows</h2>
<p class="soft">Nats: what a column adds to the score. Tail: the probability of
something at least as extreme, given the columns before it. p-value: the share of
calibration rows that are at least as strange.</p>
{% for name, image in images.items() if name.startswith("strange") %}
<div class="wide"><img src="{{ image }}" alt="The strangest images"></div>
{% endfor %}
{% for row in strangest %}
<div class="odd">
<b>{{ loop.index }}.</b>
{% for id, value in row.ids.items() %}{{ id }} {{ value }} &middot; {% endfor %}
score {{ row.score | nats }}
{%- if row.p_value is not none %} &middot; p-value {{ "%.2g" | format(row.p_value) }}
{%- endif %}
<ul>
{% for reason in row.reasons %}
<li><b>{{ reason.column }}</b> is {{ reason.value }}; expected {{ reason.expected }}
<span class="n">{{ "%+.1f" | format(reason.contribution) }} nats, tail
{{ "%.2g" | format(reason.tail_probability) }}</span></li>
{% endfor %}
</ul>
<details><summary>the whole row</summary><dl>
{% for cell, value in row.cells.items() %}
<dt>{{ cell }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl></details>
</div>
{% endfor %}
</section>

{% for segmented in found.segments %}
<section>
<h2>By {{ segmented.column }}</h2>
<p class="soft">NLL of the test rows with each value, and its gain over independent
columns, with intervals.</p>
<div class="wide"><img src="{{ images["segments%d" | format(loop.index0)] }}"
alt="NLL by {{ segmented.column }}"></div>
<div class="wide"><table>
<tr><th>{{ segmented.column }}</th><th class="n">rows</th><th class="n">NLL</th>
<th class="n">interval</th><th class="n">gain</th><th class="n">interval</th></tr>
{% for value in segmented["values"] %}
<tr><td>{{ value.value }}</td><td class="n">{{ value.rows | count }}</td>
<td class="n">{{ value.nll | nats }}</td>
<td class="n">{{ value.nll_interval[0] | nats }} to {{ value.nll_interval[1] | nats }}
</td><td class="n">{{ value.gain | nats }}</td>
<td class="n">{{ value.gain_interval[0] | nats }} to
{{ value.gain_interval[1] | nats }}</td></tr>
{% endfor %}
</table></div>
</section>
{% endfor %}

{% if images.detection is defined %}
<section>
<h2>Labelled anomalies</h2>
<p class="soft">{{ found.detection.positives | count }} of
{{ found.detection.rows | count }} test rows are labelled as anomalies; the model never
saw the label. Ranked by anomaly score, the area under the curve on the left (AUROC) is
{{ "%.3f" | format(found.detection.auroc) }}, the average precision (AUPRC)
{{ "%.3f" | format(found.detection.auprc) }}
{%- if found.detection.precision is not none %}; of the
{{ found.detection.budget | count }} strangest rows
{{ "%.1f" | format(100 * found.detection.precision) }} % are anomalies, which are
{{ "%.1f" | format(100 * found.detection.recall) }} % of all{% endif %}.</p>
<div class="wide"><img src="{{ images.detection }}"
alt="Anomalies found, and precision"></div>
</section>
{% endif %}

<section>
<h2>Anomaly scores</h2>
<p class="soft">Of the test rows, by the statistic {{ statistic }}: what is found
weighed against what is expected, summed over columns.
{% if images.p_values is defined %}Their p-values against the calibration rows are
uniform if test rows are like calibration rows.{% endif %}</p>
<div class="wide"><img src="{{ images.scores }}"
alt="Distribution of anomaly scores"></div>
{% if images.p_values is defined %}
<div class="wide"><img src="{{ images.p_values }}"
alt="Distribution of p-values"></div>
{% endif %}
</section>

<section>
<h2>Calibration of each column</h2>
<p class="soft">Where test cells fall in their predicted distributions, the worst
column first, with its KS distance. A flat histogram is calibrated, a hump means too
wide, a valley too narrow.</p>
<div class="wide"><img src="{{ images.calibration }}"
alt="Probability integral transforms by column"></div>
</section>

<section>
<h2>Synthetic rows beside test rows</h2>
{% if images.marginals is defined %}
<p class="soft">Distributions of single columns: grey, test rows; blue, as many rows
drawn from the model. Missing: shares in test and in synthetic rows.</p>
<div class="wide"><img src="{{ images.marginals }}"
alt="Distributions of test and synthetic rows"></div>
{% endif %}
{% for name, image in images.items() if name.startswith("images") %}
<p class="soft">Test images on the left, images drawn from the model on the right.</p>
<div class="wide"><img src="{{ image }}" alt="Test images and drawn ones"></div>
{% endfor %}
</section>

{% if images.learning is defined %}
<section>
<h2>Learning</h2>
<p class="soft">Nats per row by epoch; the weights with the best valid NLL are
kept.</p>
<div class="wide"><img src="{{ images.learning }}"
alt="Learning curve"></div>
</section>
{% endif %}

<section>
<h2>Provenance</h2>
<p class="soft">Rows: {% for split, rows in about.prepared.rows.items() -%}
{{ split }} {{ rows | count }}{% if not loop.last %}, {% endif %}{% endfor %};
quarantined {{ about.prepared.rows_quarantined | count }}.</p>
<dl>
{% for fact, value in facts %}
<dt>{{ fact }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
</section>
</main>
</body>
</html>
"""

DRIFT = """<!doctype html>
<!-- job {{ key }} -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: drift report</title>
<style>
{{ style | safe }}</style>
</head>
<body>
<main>
<h1>{{ name }}: {{ heading }}</h1>
<p class="soft">{{ found.rows | count }} rows of <b>{{ found.input }}</b> beside the
{{ found.reference_rows | count }} calibration rows of the model
{%- if found.model.get("version") %}, version {{ found.model.version }}{% endif %}.</p>

<div class="tiles">
{% for tile in tiles %}
<div class="tile">{{ tile.name }}<b>{{ tile.value }}</b>
<span>{{ tile.remark }}</span></div>
{% endfor %}
</div>

{% if found.reasons %}
<section>
<h2>{{ "What drifted" if found.verdict == "drift" else "Why" }}</h2>
<ul>
{% for reason in found.reasons[:20] %}<li>{{ reason }}</li>
{% endfor %}
</ul>
{% if found.reasons | length > 20 %}
<p class="soft">and {{ found.reasons | length - 20 }} more, in drift.json.</p>
{% endif %}
{% if found.remedy %}<p>{{ found.remedy }}.</p>
{% endif %}
</section>
{% endif %}
{% if found.caution %}
<section>
<h2>How sure this is</h2>
<p>{{ found.caution }}.</p>
</section>
{% endif %}

<section>
<h2>Effect sizes</h2>
<p class="soft">KS: the greatest difference of two distributions, from 0 to 1, with its
{{ "%g" | format(100 * found.confidence) }} % interval. Marginal: the column by itself.
Conditional: the column given those before it, that is its relation to them.
{% if found.limits.ks is defined %}Drift is what lies above the line with its whole
interval.{% endif %}</p>
<div class="wide"><img src="{{ images.effects }}"
alt="KS distances of all columns"></div>
<div class="wide"><table>
<tr><th>column</th><th>kind</th><th class="n">marginal KS</th><th class="n">PSI</th>
<th class="n">moved</th><th class="n">conditional KS</th><th class="n">PSI</th>
<th class="n">missing</th><th class="n">new</th></tr>
{% for column in columns %}
<tr><td>{{ column.name }}{% if not column.counts %}
<span class="soft">(may drift)</span>{% endif %}</td><td>{{ column.kind }}</td>
<td class="n{{ column.marginal.ks | over("ks", column) }}">
{{ column.marginal.ks | size }}</td>
<td class="n{{ column.marginal.psi | over("psi", column) }}">
{{ column.marginal.psi | size }}</td>
<td class="n{{ column.marginal.wasserstein | over("wasserstein", column) }}">
{{ column.marginal.wasserstein | size }}</td>
<td class="n{{ column.conditional.ks | over("ks", column) }}">
{{ column.conditional.ks | size }}</td>
<td class="n{{ column.conditional.psi | over("psi", column) }}">
{{ column.conditional.psi | size }}</td>
<td class="n">{{ column.missing | change }}</td>
<td class="n">{{ column.new | change }}</td></tr>
{% endfor %}
</table></div>
<p class="soft">Moved: the Wasserstein distance in spreads of the calibration rows.
Missing and new: shares among calibration rows and now; new is what no training row
held.</p>
</section>

<section>
<h2>Log-probability of rows</h2>
<p class="soft">Grey: calibration rows; blue: the new rows.</p>
<div class="wide"><img src="{{ images.log_prob }}"
alt="Distributions of log-probabilities"></div>
</section>

<section>
<h2>Columns by themselves</h2>
<p class="soft">Those that changed most first. Grey: calibration rows; blue: the new
rows. The ends hold what lies beyond.</p>
<div class="wide"><img src="{{ images.marginals }}"
alt="Distributions of columns"></div>
</section>

<section>
<h2>Columns given those before them</h2>
<p class="soft">Where cells fall in their predicted distributions, those that changed
most first. Blue as grey: the relations are as they were.</p>
<div class="wide"><img src="{{ images.conditionals }}"
alt="Transforms of columns"></div>
</section>
</main>
</body>
</html>
"""

COMPARISON = """<!doctype html>
<!-- job {{ key }} -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ names[0] }} and {{ names[1] }}</title>
<style>
{{ style | safe }}</style>
</head>
<body>
<main>
<h1>{{ names[0] }} beside {{ names[1] }}: {{ verdict }}</h1>
<p class="soft">On {{ found.rows | count }} rows of <b>{{ found.input }}</b>, the same
for both.</p>

<div class="tiles">
<div class="tile">Difference<b>{{ found.difference | signed }} nats</b>
<span>per row, positive where {{ names[0] }} is better;
{{ "%g" | format(100 * found.confidence) }} % interval
{{ found.difference_interval[0] | signed }} to
{{ found.difference_interval[1] | signed }}</span></div>
{% for name in names %}
<div class="tile">NLL of {{ name }}<b>{{ found.nll[loop.index0] | nats }} nats</b>
<span>per row</span></div>
{% endfor %}
</div>

<section>
<h2>Columns</h2>
<p class="soft">Where the difference comes from: that of each column given those before
it.</p>
<div class="wide"><img src="{{ images.columns }}"
alt="Differences by column"></div>
</section>

{% for segmented in found.segments %}
<section>
<h2>By {{ segmented.column }}</h2>
<div class="wide"><img src="{{ images["segments%d" | format(loop.index0)] }}"
alt="Differences by {{ segmented.column }}"></div>
<div class="wide"><table>
<tr><th>{{ segmented.column }}</th><th class="n">rows</th>
<th class="n">NLL of {{ names[0] }}</th><th class="n">NLL of {{ names[1] }}</th>
<th class="n">difference</th><th class="n">interval</th></tr>
{% for value in segmented["values"] %}
<tr><td>{{ value.value }}</td><td class="n">{{ value.rows | count }}</td>
<td class="n">{{ value.nll[0] | nats }}</td><td class="n">{{ value.nll[1] | nats }}</td>
<td class="n">{{ value.difference | signed }}</td>
<td class="n">{{ value.difference_interval[0] | signed }} to
{{ value.difference_interval[1] | signed }}</td></tr>
{% endfor %}
</table></div>
</section>
{% endfor %}
</main>
</body>
</html>
"""
