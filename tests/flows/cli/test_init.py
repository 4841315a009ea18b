from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.cli import init
from tasks.config.model import model_config
from tasks.config.root import Config
from tasks.config.train import TrainConfig
from tasks.training import defaults


def test_a_proposal_is_a_configuration_with_ids_and_exclusions(tmp_path: Path) -> None:
    table = pa.table(
        {
            "order id": range(200),
            "amount": [i % 7 / 3 for i in range(200)],
            "deep": pa.array([{"x": 1}] * 200),
            "note": pa.array(["a", None] * 100),
        }
    )
    path = tmp_path / "orders.parquet"
    pq.write_table(table, path)
    text = init.propose(str(path), None)
    config = Config.model_validate(yaml.safe_load(text))
    assert config.name == "orders"
    assert config.data.path == str(path)
    assert config.data.id == ("order id",)
    assert config.data.exclude == ("deep",)
    assert "#   amount: {kind: categorical}  # double, 7 values\n" in text
    assert "string, one value, " in text
    assert config.train == TrainConfig()
    assert config.model == model_config()
    assert "for about 140 training rows and 2 columns:" in text
    chosen = defaults.choose(140, 2)
    for key, choice in chosen.items():
        line = f"  {key.split('.')[1]}: auto  # {choice.value:g} {choice.reason}\n"
        assert line in text


def test_a_dataset_without_columns_to_model_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"unit": ["EUR"] * 9}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column is left to model .unit: constant"):
        init.propose(str(tmp_path), None)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("s3://lake/orders/day=2026-*", "orders"),
        ("lake/all.parquet", "lake"),
        ("my data.parquet", "my_data"),
        ("*", "model"),
    ],
)
def test_a_name_is_derived_from_the_path(path: str, name: str) -> None:
    assert init.model_name(path) == name


@pytest.mark.parametrize("text", ["plain", "a b", "null", "it's", "- x", "", " a"])
def test_text_is_quoted_where_yaml_needs_it(text: str) -> None:
    assert yaml.safe_load(init.quoted(text)) == text
