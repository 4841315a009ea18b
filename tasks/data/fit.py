"""Fitting of the table encoder to a survey, and a preview of what would be fitted."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from typing import Any

import pyarrow as pa

from ar_models.tables import arrow, structs, text_formats
from ar_models.tables.columns import Column
from ar_models.tables.derived_column import Candidate, derived_column
from ar_models.tables.encoder import Image, TableEncoder
from ar_models.tables.inequality import Inequality
from ar_models.tables.left_out import LeftOut, constant
from ar_models.tables.list_cells import is_nested
from tasks.config.data import DataConfig
from tasks.data.columns.infer import infer_column
from tasks.data.columns.pixels import pixel_column
from tasks.data.constraint_search import with_constraints
from tasks.data.datasets import open_dataset
from tasks.data.decimal_types import preview_decimal_types
from tasks.data.division import PreparePlan
from tasks.data.fragments import evenly_spaced
from tasks.data.keys import key_columns
from tasks.data.profile import (
    describe_column,
    describe_constraint,
    describe_inequality,
)
from tasks.data.recognition import recognise_text
from tasks.data.sketches import merge
from tasks.data.survey import Survey, max_exact_of, merge_surveys, survey_fragment
from tasks.data.training_data import image_columns

PREVIEWED_FRAGMENTS = 8
"""Number of fragments, from all over the dataset, that a preview reads."""

PERIOD = "a period that divides the files, later in new rows than in all others"
"""Reason why hive keys that are dates or parts of dates are left out."""

MIN_RATE = 0.002
"""Share of the training rows in which a constraint is the first to hold, at least."""

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
    written, schema = schema, plan.schema(schema)
    images = image_columns(plan.data, schema)
    pixels = _pixel_columns(survey, plan, schema, images)
    for name in plan.modelled:
        type = schema.field(name).type
        outcome = pixels.get(name) or _outcome(survey, plan, name, type)
        if isinstance(outcome, Column):
            columns.append(outcome)
        else:
            left_out.append(outcome)
        entry = describe_column(survey.sketches[name], outcome, type)
        format = text_formats.format_of(schema.field(name))
        if format is not None:
            entry["reason"] += f", written as text ({format})"
        if structs.is_presence(schema.field(name)):
            entry["reason"] += ": whether the struct is there"
        entries.append({**entry, "type": str(written.field(name).type)})
    for name in plan.nested:
        type = str(schema.field(name).type)
        left_out.append(LeftOut(name, type, f"columns of type {type} are not modelled"))
    columns = _with_constraints(columns, survey, plan)
    modelled = {*plan.modelled, *plan.nested}
    trained, own = (
        pa.schema([field for field in each if field.name in modelled])
        for each in (schema, written)
    )
    shapes = tuple(
        Image(tuple(names), plan.data.images[pattern].shape)
        for pattern, names in images.items()
    )
    carried = pa.schema([schema.field(n) for n in plan.data.id if n in plan.keys])
    decoded = {c.name for c in columns} | {c.name for c in left_out if c.constant}
    keys = key_columns(plan, written, decoded, survey.keys, survey.sketches)
    found = tuple(columns), tuple(left_out)
    encoder = TableEncoder(*found, trained, shapes, carried, own, plan.wide, keys)
    return encoder.with_inequalities(_inequalities(survey, plan, encoder)), entries


def confirmed_constraints(
    survey: Survey, plan: PreparePlan, names: Collection[str]
) -> dict[str, list[int]]:
    """Return the indices of the constraints of each column that the survey confirms.

    Args:
        survey: The survey of all rows.
        plan: Its constraints were searched in a sample.
        names: Names of the columns that are modelled.
    """
    found = {
        column: [
            number
            for number, formula in enumerate(plan.constraints[column])
            if set(names).issuperset(formula.columns)
            and tally.first[number] >= MIN_RATE * tally.rows
        ]
        for column, tally in survey.tallies.items()
        if column in names
    }
    return {column: numbers for column, numbers in found.items() if numbers}


def describe_constraints(
    survey: Survey, plan: PreparePlan, encoder: TableEncoder
) -> list[Json]:
    """Return the entries of the constraints in the profile.

    Args:
        survey: The survey of all rows.
        plan: Its constraints were searched in a sample.
        encoder: The encoder that was fitted to the survey.
    """
    confirmed = confirmed_constraints(survey, plan, encoder.names)
    return [
        describe_constraint(
            column, plan.constraints[column][number], survey.tallies[column], number
        )
        for column, numbers in confirmed.items()
        for number in numbers
    ] + [describe_inequality(each) for each in _inequalities(survey, plan, encoder)]


def _inequalities(
    survey: Survey, plan: PreparePlan, encoder: TableEncoder
) -> list[Inequality]:
    """Return the inequalities of modelled columns, with their counts in the survey."""
    return [
        replace(each, rows=int(known), violations=int(violated))
        for each, (known, violated) in zip(
            plan.inequalities, survey.inequalities, strict=True
        )
        if known and set(encoder.names).issuperset(each.columns)
    ]


def _with_constraints(
    columns: list[Column], survey: Survey, plan: PreparePlan
) -> list[Column]:
    """Return columns with the constraints that the survey confirms."""
    confirmed = confirmed_constraints(survey, plan, [c.name for c in columns])
    found = []
    for column in columns:
        candidates = [
            Candidate(
                plan.constraints[column.name][number],
                survey.tallies[column.name].held[number],
                survey.tallies[column.name].first[number],
            )
            for number in confirmed.get(column.name, ())
        ]
        found.append(derived_column(column, candidates) if candidates else column)
    return found


def _outcome(
    survey: Survey, plan: PreparePlan, name: str, type: pa.DataType
) -> Column | LeftOut:
    """Return the column that fits the training rows, or why it is left out."""
    constancy = survey.constancies[name]
    # A constant column whose kind is configured is modelled nevertheless.
    if constancy.is_constant and plan.data.kind_of(name) is None:
        reason = "all null" if constancy.first.null_count else "constant"
        return constant(name, constancy.first, reason)
    if plan.is_left_out_period(name):
        return LeftOut(name, str(type), PERIOD)
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


@dataclass(frozen=True)
class Preview:
    """The columns and constraints that would be inferred from some rows of a dataset.

    Attributes:
        rows: Number of all rows.
        columns: An entry per column, as in the profile; without counts where the type
            cannot be modelled.
        constraints: An entry per constraint, as in the profile.
    """

    rows: int
    columns: list[Json]
    constraints: list[Json]


def preview_dataset(path: str, rows: int) -> Preview:
    """Return what would be inferred from some rows of a dataset.

    Args:
        path: The dataset, as for `open_dataset`.
        rows: Maximum number of rows to read, from all over the dataset.
    """
    dataset = open_dataset(
        path,
        rows_per_fragment=max(1, rows // PREVIEWED_FRAGMENTS),
        hashed=False,
    )
    data = DataConfig(path=path)
    dataset = recognise_text(dataset, data)
    chosen = evenly_spaced(dataset.fragments, PREVIEWED_FRAGMENTS)
    plan = preview_decimal_types(PreparePlan.of(dataset, data), chosen)
    plan = with_constraints(plan, chosen, dataset.schema)
    surveys = map(partial(survey_fragment, plan), chosen)
    survey, _ = merge_surveys(chosen, surveys, plan)
    encoder, entries = fit_encoder(survey, plan, dataset.schema)
    by_name = {
        left.name: {"kind": "left out", **asdict(left)} for left in encoder.left_out
    } | {entry["name"]: entry for entry in entries}
    columns = [by_name[name] for name in dataset.schema.names]
    return Preview(dataset.rows, columns, describe_constraints(survey, plan, encoder))
