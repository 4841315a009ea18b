"""The HTML page of a comparison of two models."""

from functools import partial
from typing import Any

from tasks.reports import figures, pages
from tasks.reports.pages import Tile

LABEL = "nats per row by which the first model is better"

Json = dict[str, Any]  # JSON values


def render(key: str, result: Json) -> str:
    """Render the page of a comparison.

    Args:
        key: The job key.
        result: The content of comparison.json.
    """
    names = [model_name(model) for model in result["models"]]
    largest = sorted(result["columns"], key=lambda c: -abs(c["difference"]))
    shown = largest[: figures.MAX_COLUMNS]
    drawn: dict[str, Any] = {
        "columns": partial(figures.draw_differences, shown, "difference", LABEL)
    }
    for k, segmented in enumerate(result["segments"]):
        drawn[f"segments{k}"] = partial(
            figures.draw_intervals, segmented["values"], "difference", LABEL
        )
    return pages.render(
        "comparison.html.j2",
        key=key,
        names=names,
        conclusion=conclude(result),
        result=result,
        tiles=tiles(result, names),
        figures=figures.to_data_urls(drawn),
    )


def model_name(model: Json) -> str:
    """Return the name and version of a model, or its fingerprint."""
    if model.get("version"):
        return f"{model['name']} version {model['version']}"
    return f"{model.get('name') or 'model'} {model['fingerprint'][:8]}"


def conclude(result: Json) -> str:
    """Say which model is better, if the confidence interval excludes zero."""
    low, high = result["difference_interval"]
    if low <= 0 <= high:
        return "no significant difference"
    better = result["models"][0 if low > 0 else 1]
    return f"{model_name(better)} is better"


def tiles(result: Json, names: list[str]) -> list[Tile]:
    """Return the key figures of a comparison with their explanation."""
    low, high = result["difference_interval"]
    difference = Tile(
        "Difference",
        f"{result['difference']:+.3f} nats",
        f"per row, positive where {names[0]} is better; "
        f"{100 * result['confidence']:g} % interval {low:+.3f} to {high:+.3f}",
    )
    nlls = [
        Tile(f"NLL of {name}", f"{pages.format_nats(nll)} nats", "per row")
        for name, nll in zip(names, result["nll"], strict=True)
    ]
    return [difference, *nlls]
