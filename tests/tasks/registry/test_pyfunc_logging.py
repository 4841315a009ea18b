"""Tests of logging a model as a pyfunc."""

import json
from decimal import Decimal
from pathlib import Path

import mlflow
import pyarrow as pa
from mlflow.models import convert_input_example_to_serving_input

from tasks.registry import (
    pyfunc_logging,
)
from tasks.registry.promotion import Promotion


def test_a_version_pins_what_it_needs(first: Promotion) -> None:
    path = mlflow.pyfunc.get_model_dependencies("models:/alone/1")
    lines = Path(path).read_text().split()
    names = {line.partition("==")[0] for line in lines}
    needed = {"mlflow", "numba", "numpy", "pandas", "pyarrow", "safetensors", "torch"}
    assert names == needed
    assert all("==" in line and "+" not in line for line in lines)


def test_the_example_of_a_version_can_be_written() -> None:
    amounts = pa.array([Decimal("1.50"), None], pa.decimal128(38, 10))
    table = pa.table({"amount": amounts, "day": pa.array([0, None], pa.date32())})
    found = pyfunc_logging.to_json_frame(table)
    written = json.loads(convert_input_example_to_serving_input(found))
    assert written["dataframe_split"]["data"][0] == [1.5, "1970-01-01"]
    waits = pa.table({"wait": pa.array([5], pa.duration("s"))})
    assert pyfunc_logging.to_json_frame(waits) is None
