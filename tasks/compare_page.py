"""The page about two models on the same rows."""

from collections.abc import Sequence
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tasks import figures
from tasks.figures import BLUE, INK, ORANGE
from tasks.page import COMPARISON, STYLE
from tasks.report import nats

LABEL = "nats per row by which the first model is better"

Json = dict[str, Any]  # JSON-able values


def render(key: str, result: Json) -> str:
    """The page; everything that comes from data is escaped.

    Args:
        key: The job key.
        result: The content of comparison.json.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "nats": nats,
        "signed": lambda value: f"{value:+.3f}",
        "count": lambda number: f"{number:,}".replace(",", " "),
    }
    with matplotlib.rc_context(figures.STYLE):
        images = {"columns": figures.data_url(columns(result["columns"]))}
        for k, segmented in enumerate(result["segments"]):
            images[f"segments{k}"] = figures.data_url(
                figures.intervals(segmented["values"], "difference", LABEL)
            )
    return environment.from_string(COMPARISON).render(
        key=key,
        names=[name_of(model) for model in result["models"]],
        found=result,
        verdict=verdict(result),
        images=images,
        style=STYLE,
    )


def name_of(model: Json) -> str:
    """What a model is called: its name and version, else its fingerprint."""
    if model.get("version"):
        return f"{model['name']} version {model['version']}"
    return f"{model.get('name') or 'model'} {model['fingerprint'][:8]}"


def verdict(result: Json) -> str:
    """Which model is better, in words."""
    low, high = result["difference_interval"]
    if low <= 0 <= high:
        return "no difference that these rows could show"
    better = result["models"][0 if low > 0 else 1]
    return f"{name_of(better)} is better"


def columns(found: Sequence[Json]) -> Figure:
    """How much more probable the first model finds each column."""
    ranked = sorted(found, key=lambda c: -abs(c["difference"]))[: figures.SHOWN]
    ranked.sort(key=lambda c: -c["difference"])
    figure = Figure(figsize=(7, 1.0 + 0.26 * len(ranked)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(ranked))
    values = np.array([column["difference"] for column in ranked])
    axes.barh(places, values, height=0.72, color=np.where(values >= 0, BLUE, ORANGE))
    axes.set_yticks(places, [figures.short(c["name"], 28) for c in ranked])
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(LABEL)
    return figure
