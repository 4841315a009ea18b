from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.tables.text_formats import format_of
from tasks.config.data import DataConfig
from tasks.data.datasets import open_dataset
from tasks.data.prepared import read_encoder
from tasks.data.schema import trained_schema
from tasks.data.training_data import open_training_data
from tests.support.parquet import read_rows, write_parquet
from tests.support.preparing import read_split, run_prepare

DAYS = [f"{1 + k % 28:02}.01.2024" for k in range(300)]
PRICES = [f"{k % 37},{k % 10}0" for k in range(300)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write two files of text and return their directory."""
    table = pa.table({"day": DAYS, "price": PRICES, "x": range(300)})
    write_parquet(tmp_path / "raw" / "a.parquet", table)
    write_parquet(tmp_path / "raw" / "b.parquet", table.slice(0, 50))
    return tmp_path / "raw"


def test_text_is_modelled_as_what_it_says(source: Path, tmp_path: Path) -> None:
    result = run_prepare(source, tmp_path / "out")
    assert result.columns["day"] == "timestamp"
    assert result.columns["price"] == "integer"
    types = read_split(tmp_path / "out", "train").schema
    assert types.field("day").type == pa.date32()
    encoder = read_encoder(str(tmp_path / "out"))
    assert format_of(encoder.schema.field("day")) == "%d.%m.%Y"
    assert encoder.as_modelled(0, pa.array(["02.01.2024"])).type == pa.date32()
    later = open_dataset(
        str(source), rows_per_fragment=99, trained=trained_schema(encoder)
    )
    encoded = encoder.encode(read_rows(later))
    assert not encoded.out_of_support.any()


def test_a_configured_kind_keeps_text_text(source: Path) -> None:
    data = {"columns": {"day": {"kind": "categorical"}}, "id": ["price"]}
    config = DataConfig.model_validate({"path": str(source), **data})
    schema = open_training_data(config).schema
    assert schema.types[:2] == [pa.string(), pa.string()]
    real = {"columns": {"price": {"kind": "real"}}}
    config = DataConfig.model_validate({"path": str(source), **real})
    assert pa.types.is_decimal(open_training_data(config).schema.field("price").type)


def test_what_does_not_have_the_format_is_null(source: Path) -> None:
    odd = pq.read_table(source / "b.parquet").set_column(
        0, "day", pa.array(["someday", *DAYS[:49]])
    )
    dataset = open_training_data(DataConfig(path=str(source)))
    write_parquet(source / "b.parquet", odd)
    known = open_dataset(
        str(source / "b.parquet"), rows_per_fragment=99, trained=dataset.schema
    )
    assert read_rows(known).column("day").null_count == 1
