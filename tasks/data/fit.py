"""Fitting of the table encoder to a survey, and a preview of what would be fitted."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import Column
from ar_models.tables.encoder import Image, TableEncoder
from ar_models.tables.left_out import LeftOut, constant
from ar_models.tables.list_cells import is_nested
from tasks.config.data import DataConfig
from tasks.data.columns.infer import infer_column
from tasks.data.columns.pixels import pixel_column
from tasks.data.datasets import open_dataset
from tasks.data.division import PreparePlan
from tasks.data.profile import describe_column
from tasks.data.sketches import merge
from tasks.data.survey import Survey, max_exact_of, merge_surveys, survey_fragment
from tasks.data.training_data import image_columns

PREVIEWED_FRAGMENTS = 8
"""Number of fragments, from all over the dataset, that a preview reads."""

Json = dict[str, Any]  # JSON-able values


def fit_encoder(
    survey: Survey, plan: PreparePlan, schema: pa.Schema
) -> tuple[TableEncoder, list[Json]]:
    """Fit the table encoder to a survey of the training rows.

    Args:
        survey: The survey of all rows.
        plan: Which columns are modelled, and how.
        schema: Schema of the dataset.

    Returns:
        The encoder, and the entry of each modelled column in the profile.

    Raises:
        ValueError: A configured kind does not fit the values of its column.
    """
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    entries = []
    images = image_columns(plan.data, schema)
    pixels = _pixel_columns(survey, plan, schema, images)
    for name in plan.modelled:
        type = schema.field(name).type
        outcome = pixels.get(name) or _outcome(survey, plan, name, type)
        if isinstance(outcome, Column):
            columns.append(outcome)
        else:
            left_out.append(outcome)
        entries.append(describe_column(survey.sketches[name], outcome, type))
    trained = pa.schema([schema.field(name) for name in plan.modelled])
    shapes = tuple(
        Image(tuple(names), plan.data.images[pattern].shape)
        for pattern, names in images.items()
    )
    return TableEncoder(tuple(columns), tuple(left_out), trained, shapes), entries


def _outcome(
    survey: Survey, plan: PreparePlan, name: str, type: pa.DataType
) -> Column | LeftOut:
    """Return the column that fits the training rows, or why it is left out."""
    constancy = survey.constancies[name]
    # A constant column whose kind is configured is modelled nevertheless.
    if constancy.is_constant and plan.data.kind_of(name) is None:
        reason = "all null" if constancy.first.null_count else "constant"
        return constant(name, constancy.first, reason)
    return infer_column(name, type, survey.sketches[name], plan.data)


def _pixel_columns(
    survey: Survey,
    plan: PreparePlan,
    schema: pa.Schema,
    images: Mapping[str, list[str]],
) -> dict[str, Column]:
    """Return the columns that are pixels, by name; those of an image are alike."""
    found: dict[str, Column] = {}
    for pattern, names in images.items():
        types = [schema.field(name).type for name in names]
        if is_nested(types[0]):
            continue
        key = f"data.images.{pattern}"
        if len(set(types)) > 1 or arrow.family(types[0]) not in arrow.NUMBERS:
            raise ValueError(
                f"{key}: pixels must be numbers of one type, {names[0]!r} is {types[0]}"
                f" and {names[-1]!r} is {types[-1]}"
            )
        max_distinct = max_exact_of(plan, names[0])
        sketches = [survey.sketches[name] for name in names]
        total = reduce(partial(merge, max_distinct=max_distinct), sketches)
        one = pixel_column("", types[0], total, plan.data.images[pattern], key)
        for name, sketch in zip(names, sketches, strict=True):
            variables = tuple(replace(v, name=f"{name}{v.name}") for v in one.variables)
            found[name] = replace(one, name=name, variables=variables, rows=sketch.rows)
    return found


def preview_columns(path: str, rows: int) -> tuple[int, list[Json]]:
    """Return what would be inferred of each column, from some rows of a dataset.

    Args:
        path: The dataset, as for `open_dataset`.
        rows: Maximum number of rows to read, from all over the dataset.

    Returns:
        The number of all rows, and an entry per column as in the profile. The kind
        `exclude` means that the type cannot be modelled.
    """
    dataset = open_dataset(path, rows_per_fragment=max(1, rows // PREVIEWED_FRAGMENTS))
    step = max(1, len(dataset.fragments) // PREVIEWED_FRAGMENTS)
    chosen = list(dataset.fragments[::step][:PREVIEWED_FRAGMENTS])
    unknown = [
        f
        for f in dataset.schema
        if arrow.family(f.type) is None and not is_nested(f.type)
    ]
    data = DataConfig(path=path, exclude=tuple(field.name for field in unknown))
    plan = PreparePlan.of(dataset, data)
    surveys = map(partial(survey_fragment, plan), chosen)
    survey, _ = merge_surveys(chosen, surveys, plan)
    _, entries = fit_encoder(survey, plan, dataset.schema)
    by_name = {entry["name"]: entry for entry in entries} | {
        field.name: {
            "name": field.name,
            "type": str(field.type),
            "kind": "exclude",
            "reason": f"{field.type} cannot be modelled; flatten it",
        }
        for field in unknown
    }
    return dataset.rows, [by_name[name] for name in dataset.schema.names]
