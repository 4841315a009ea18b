import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.cli import init
from tasks.config.load import load
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
    assert "#   deep.x: {kind: leave_out}  # int64, constant\n" in text
    assert "  # bool, constant: whether the struct is there\n" in text
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


NAMES = ["2024", "2024-01-31", "no", "1e5", "null", "007", "a\nb: c", "# x", "k: v"]
NAMES += [
    "",
    " lead",
    "it's",
    'a"b',
    "{key}",
    "a,b",
    "\x07",
    "\x85",
    "\u2028x",
    "\ufeff",
]


def random_names(count: int) -> list[str]:
    """Return distinct names of characters that mean something in YAML."""
    rng = random.Random(0)
    letters = "ab01.:#-?{}[],&*!|>'\"%@`~ \n\t\r\\=é\u2029\U0001f4cf\x00"
    names = {"".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in range(count)}
    return sorted(names - set(NAMES))


def test_a_proposal_is_the_same_for_any_names(tmp_path: Path) -> None:
    names = [*NAMES, *random_names(150)]
    ids = [f"row {k}" for k in range(200)]
    values = [ids if k % 2 else ["p", "q # \n"] * 100 for k in range(len(names))]
    path = tmp_path / "2024.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(v) for v in values], names), path)
    text = init.propose(str(path), None)
    (tmp_path / "config.yaml").write_text(text)
    config = load(tmp_path / "config.yaml")
    assert config.name == "2024"
    assert list(config.data.id) == names[1::2]
    lines = [line for line in text.split("\n") if "{kind: " in line]
    shown = [yaml.safe_load(line.removeprefix("  #")) for line in lines]
    assert [name for entry in shown for name in entry] == names
