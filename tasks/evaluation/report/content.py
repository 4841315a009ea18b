"""Figures and tables in words for the report of a model."""

import json
from importlib.metadata import version
from typing import Any

from ar_models.density.table_density import TableDensity
from ar_models.scoring.explanation import short
from tasks.data.profile import constraint_share
from tasks.reports.images import pixel_blocks
from tasks.reports.pages import Tile, format_nats

Json = dict[str, Any]  # JSON values


def tiles(evaluation: Json) -> list[Tile]:
    """Return the key figures of an evaluation with their explanation."""
    low, high = map(format_nats, evaluation["nll_interval"])
    gain_low, gain_high = map(format_nats, evaluation["gain_interval"])
    confidence = f"{evaluation['confidence']:.0%}"
    limit = "at most " if evaluation["is_bound"] else ""
    shown = [
        Tile(
            "Test NLL",
            f"{limit}{format_nats(evaluation['nll'])} nats",
            f"per row; {confidence} interval {low} to {high}",
        ),
        Tile(
            "Gain",
            f"{format_nats(evaluation['gain'])} nats",
            "per row over independent columns; "
            f"{confidence} interval {gain_low} to {gain_high}",
        ),
        Tile(
            "Bits per dimension",
            f"{evaluation['bits_per_dim']:.3f}",
            f"{evaluation['dim']:.0f} dimensions per row: columns, pixels and elements "
            "of sequences",
        ),
    ]
    if evaluation["p_value_ks"] is not None:
        rows = f"{evaluation['calibration_rows']} calibration rows"
        fault = evaluation.get("p_value_fault")
        remark = fault or f"KS distance from uniform; {rows}"
        value = f"{evaluation['p_value_ks']:.3f}"
        shown.append(Tile("p-values", value, remark, is_fault=fault is not None))
    detection = evaluation["detection"]
    if detection and detection["auroc"] is not None:
        low, high = (f"{end:.3f}" for end in detection["auroc_interval"])
        remark = (
            f"{confidence} interval {low} to {high}; {detection['positives']} labelled "
            f"anomalies in {detection['rows']} rows"
        )
        shown.append(Tile("AUROC", f"{detection['auroc']:.3f}", remark))
    return shown


def column_table(density: TableDensity, evaluation: Json) -> list[Json]:
    """Return the type and measures of each column, or of each image, as a table.

    The pixels of an image are one row of the table: their NLLs and gains are summed, of
    their KS distances the largest is shown.
    """
    rows: dict[str, Json] = {
        column.name: {**measures, "type": short(column.type)}
        for column, measures in zip(
            density.encoder.columns, evaluation["columns"], strict=True
        )
    }
    for image in pixel_blocks(density):
        pixels = [rows.pop(name) for name in image.columns]
        first, last = pixels[0], pixels[-1]
        summed = ("nll", "independent_nll", "gain", "out_of_support")
        rows[first["name"]] = {
            **first,
            "name": f"{first['name']} … {last['name']}",
            "kind": f"{first['kind']} pixels, {' x '.join(map(str, image.shape[:2]))}",
            **{key: sum(pixel[key] for pixel in pixels) for key in summed},
            "ks": max(pixel["ks"] for pixel in pixels),
        }
    return list(rows.values())


def constraint_table(profile: Json) -> list[Json]:
    """Return the constraints of a profile, with the share of the rows where they hold.

    Args:
        profile: The profile of the prepared dataset.
    """
    return [
        {"relation": "=", **entry, "share": constraint_share(entry)}
        for entry in profile["constraints"]
    ]


def provenance(density: TableDensity, manifests: Json) -> list[tuple[str, str]]:
    """Return names and values that identify the data, code and settings of a model.

    Args:
        density: The model.
        manifests: Manifests of the `prepared` dataset, the `model` and its
            `evaluation`.
    """
    inputs = manifests["prepared"].get("inputs", {})
    rows = {
        "dataset": inputs.get("dataset"),
        "prepared dataset": manifests["prepared"]["job_key"],
        **density.info["fingerprints"],
        "training job": manifests["model"]["job_key"],
        "evaluation": manifests["evaluation"]["job_key"],
        "trained": manifests["model"]["finished"],
        "chainrule": version("chainrule"),
        **density.info["versions"],
    }
    origin = density.info.get("recalibrated")
    if origin is not None:
        rows["weights of version"] = origin["version"]
    if "config" in manifests["model"]:
        rows["configuration"] = json.dumps(manifests["model"]["config"])
    return [(name, str(value)) for name, value in rows.items() if value]
