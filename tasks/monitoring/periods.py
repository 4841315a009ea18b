"""Days, weeks and months of rows, and what drift detection says about each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.encoder import TableEncoder
from tasks.config.monitor import MonitorConfig
from tasks.data.schema import check_columns
from tasks.monitoring import drift_report
from tasks.monitoring.histograms import Histogram
from tasks.monitoring.reference import Reference

MAX_PERIODS = 400
"""Maximum number of periods of a dataset."""

MAX_NEW = 10
"""Maximum number of new categories of a column that are named in a period."""

UNDATED = "no date"
"""Name of the period of rows whose time is null."""

Json = dict[str, Any]  # JSON values
NewCategories = dict[str, dict[str, int]]
"""Number of rows by column and category that no training row had."""


@dataclass(frozen=True)
class Division:
    """The division of rows into periods.

    Attributes:
        by: `day`, `week` or `month`.
        time: Column of dates or timestamps that divides the rows.
    """

    by: str
    time: str


def division(
    encoder: TableEncoder, schema: pa.Schema, config: MonitorConfig
) -> Division | None:
    """Return the configured division of the rows of a dataset, None without any.

    Args:
        encoder: Knows which texts say dates.
        schema: Schema of the dataset.
        config: Its `by` is the period.

    Raises:
        ValueError: It is not clear which column divides the rows.
    """
    if config.by is None:
        return None
    return Division(config.by, time_column(encoder, schema, config))


def time_column(encoder: TableEncoder, schema: pa.Schema, config: MonitorConfig) -> str:
    """Return the name of the column that divides the rows into periods.

    Args:
        encoder: Knows which texts say dates.
        schema: Schema of the dataset.
        config: Its `time` names the column; by default, it is the only column of dates
            or timestamps.

    Raises:
        ValueError: There is no such column, or it holds no dates.
    """
    dated = [f.name for f in schema if _is_dated(encoder, f)]
    if config.time is None and len(dated) == 1:
        return str(dated[0])
    if config.time is None:
        raise ValueError(
            f"monitor.by: {len(dated)} columns hold dates or timestamps ({dated!r}); "
            "name the one that divides the rows in monitor.time"
        )
    check_columns(schema, {"monitor.time": [config.time]})
    if config.time not in dated:
        raise ValueError(
            f"monitor.time: column {config.time!r} is "
            f"{schema.field(config.time).type}; name a column of dates or timestamps"
            + (f", such as {dated[0]!r}" if dated else "")
        )
    return config.time


def _is_dated(encoder: TableEncoder, field: pa.Field) -> bool:
    """Return whether a column holds dates, timestamps, or text that says so."""
    types = [field.type]
    if field.name in encoder.names:
        types.append(encoder.type_of(encoder.names.index(field.name)))
    return any(arrow.family(type) in ("date", "timestamp") for type in types)


def period_names(
    encoder: TableEncoder, table: pa.Table, time: str, by: str
) -> np.ndarray:
    """Return the name of the period of each row, (n,), such as 2026-01-31.

    A week has the name of its Monday, and timestamps count in their time zone.

    Args:
        encoder: Knows which texts say dates.
        table: The rows.
        time: Name of the column of dates or timestamps.
        by: `day`, `week` or `month`.
    """
    array = table.column(time)
    if time in encoder.names:
        array = encoder.as_modelled(encoder.names.index(time), array)
    array = arrow.flat(array)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"), safe=False)
    elif array.type.tz is not None:
        array = pc.local_timestamp(array)
    start = pc.floor_temporal(array, unit=by).cast(pa.timestamp("s"), safe=False)
    form = "%Y-%m" if by == "month" else "%Y-%m-%d"
    texts = pc.fill_null(pc.strftime(start, format=form), UNDATED)
    return np.asarray(texts.to_numpy(zero_copy_only=False), object)


def divide(
    encoder: TableEncoder, table: pa.Table, division: Division
) -> Iterator[tuple[str, pa.Table]]:
    """Yield each period of a table and its rows, earlier periods first."""
    names = period_names(encoder, table, division.time, division.by)
    for name in sorted(set(names)):
        yield name, table.filter(pa.array(names == name))


def new_categories(encoder: TableEncoder, table: pa.Table) -> NewCategories:
    """Return the number of rows of categories that no training row had, by column."""
    found = {}
    for j, column in enumerate(encoder.columns):
        plain = column.plain
        if not isinstance(plain, CodeColumn):
            continue
        array = arrow.flat(encoder.as_modelled(j, table.column(column.name)))
        new = plain.unknown(array, encoder.type_of(j))
        new &= array.is_valid().to_numpy(zero_copy_only=False)
        if new.any():
            values = arrow.python_values(array.filter(pa.array(new)))
            found[column.name] = dict(Counter(map(str, values)))
    return found


def add_categories(a: NewCategories, b: NewCategories) -> NewCategories:
    """Return the numbers of rows of new categories in both, added up."""
    return {
        column: dict(Counter(a.get(column, {})) + Counter(b.get(column, {})))
        for column in [*a, *(name for name in b if name not in a)]
    }


def summarize(
    encoder: TableEncoder,
    known: Reference,
    batches: Mapping[str, Sequence[Histogram]],
    new: Mapping[str, NewCategories],
    config: MonitorConfig,
) -> list[Json]:
    """Compare each period with the reference, as drift.json holds it.

    Args:
        encoder: The model's encoder.
        known: The reference of the model.
        batches: Histograms of the new rows by period.
        new: Categories that no training row had, by period.
        config: Limits and intervals.

    Raises:
        ValueError: There are too many periods.
    """
    if len(batches) > MAX_PERIODS:
        raise ValueError(
            f"monitor.by: the rows lie in {len(batches)} periods of a {config.by}, and "
            f"at most {MAX_PERIODS} are compared; choose a longer period, or fewer rows"
        )
    found = []
    for name in sorted(batches):
        drift = drift_report.summarize(encoder, known, batches[name], config)
        columns = [
            {
                "name": column["name"],
                "marginal": column["marginal"]["ks"],
                "conditional": column["conditional"]["ks"],
            }
            for column in drift["columns"]
            if column["monitored"]
        ]
        found.append(
            {
                "period": name,
                **{key: drift[key] for key in ("rows", "verdict", "reasons")},
                "log_prob_mean": drift["log_prob"]["means"][1],
                "log_prob_ks": drift["log_prob"]["ks"],
                "columns": columns,
                "new_categories": {
                    column: dict(Counter(values).most_common(MAX_NEW))
                    for column, values in new.get(name, {}).items()
                },
            }
        )
    return found


def largest_change(period: Json) -> Json | None:
    """Return the column of a period with the largest KS distance, None without any.

    Returns:
        The name of the column, the kind of the distribution, marginal or conditional,
        and the effect size.
    """
    known = [
        {"name": column["name"], "kind": kind, "ks": column[kind]}
        for column in period["columns"]
        for kind in ("marginal", "conditional")
        if column[kind] is not None
    ]
    return max(known, key=lambda size: float(size["ks"]["value"]), default=None)


def describe_new(period: Json) -> str:
    """Return the new categories of a period in words, with their numbers of rows."""
    return "; ".join(
        f"{column}: " + ", ".join(f"{value} ({n:,})" for value, n in values.items())
        for column, values in period["new_categories"].items()
    )
