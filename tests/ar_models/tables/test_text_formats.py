from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.text_formats import (
    as_modelled,
    as_written,
    format_of,
    parse,
    recognise,
    render,
    with_format,
)

MOMENTS = [
    datetime(2023, 12, 20) + timedelta(hours=17 * k, seconds=k) for k in range(60)
]
NUMBERS = np.random.default_rng(0).normal(0, 100, 60).tolist()


@pytest.mark.parametrize(
    ("texts", "format", "type"),
    [
        ([f"{m:%Y-%m-%d}" for m in MOMENTS], "%Y-%m-%d", pa.date32()),
        ([f"{m:%d.%m.%Y}" for m in MOMENTS], "%d.%m.%Y", pa.date32()),
        ([f"{m:%m/%d/%Y}" for m in MOMENTS], "%m/%d/%Y", pa.date32()),
        ([f"{m:%d/%m/%Y}" for m in MOMENTS], "%d/%m/%Y", pa.date32()),
        ([f"01/{d:02}/2024" for d in range(1, 13)], "%m/%d/%Y", pa.date32()),
        ([f"{m:%Y%m%d}" for m in MOMENTS], "%Y%m%d", pa.date32()),
        ([f"{m}" for m in MOMENTS], "%Y-%m-%d %H:%M:%S", pa.timestamp("s")),
        (
            [f"{m:%Y-%m-%dT%H:%M:%S}.0{m.second:02}Z" for m in MOMENTS],
            "%Y-%m-%dT%H:%M:%SZ",
            pa.timestamp("ms", "UTC"),
        ),
        ([f"{m:%d.%m.%Y %H:%M}" for m in MOMENTS], "%d.%m.%Y %H:%M", pa.timestamp("s")),
        ([f"{m:%H:%M}" for m in MOMENTS], "%H:%M", pa.time32("s")),
        ([f"{n:.0f}" for n in NUMBERS if abs(n) > 1], "integer", pa.int64()),
        ([f"{n:.2f}" for n in NUMBERS], "decimal.2", pa.decimal128(18, 2)),
        (
            [f"{n:.2f}".replace(".", ",") for n in NUMBERS],
            "decimal,2",
            pa.decimal128(18, 2),
        ),
        ([f"{k / 4:g}" for k in range(60)], "shortest", pa.float64()),
        ([repr(float(k // 4)) for k in range(60)], "decimal.1", pa.decimal128(18, 1)),
        ([repr(k / 7) for k in range(60)], "real", pa.float64()),
    ],
)
def test_what_text_says_is_recognised_and_written_in_the_same_way(
    texts: list[str], format: str, type: pa.DataType
) -> None:
    assert recognise(texts) == (format, type)
    array = pa.array([*texts, None, "no such thing"]).dictionary_encode()
    values = parse(array, format, type)
    assert values.type == type
    assert render(values, format).to_pylist() == [*texts, None, None]


@pytest.mark.parametrize(
    "texts",
    [
        [f"{k:05}" for k in range(999, 1099)],  # postcodes
        [str(k) for k in range(10_000, 10_100)],
        ["0", "1"] * 20,
        ["True", "False"] * 20,
        [f"10.0.0.{k}" for k in range(60)],
        [f"0{k}" for k in range(60)],
        ["2024-02-30"] * 20,
        ["24:00"] * 20,
        [*(f"{m:%Y-%m-%d}" for m in MOMENTS), "unknown"],
        ["2024-01-01"],
        ["a 1"] * 20,
        [],
    ],
    ids=str,
)
def test_other_text_remains_text(texts: list[str]) -> None:
    assert recognise(texts) is None


def test_a_table_is_written_with_text_where_there_was_text() -> None:
    plain = pa.field("day", pa.string())
    field = with_format(plain, "%d.%m.%Y", pa.date32())
    assert (format_of(plain), format_of(field)) == (None, "%d.%m.%Y")
    read = as_modelled(pa.array(["31.01.2024", None, "?"]), field)
    assert read.to_pylist() == [date(2024, 1, 31), None, None]
    assert as_modelled(read, field) is read
    written = as_written(
        pa.table([read, read], schema=pa.schema([field, ("b", read.type)]))
    )
    assert written.column("day").to_pylist() == ["31.01.2024", None, None]
    assert written.schema.types == [pa.string(), pa.date32()]
