"""Fixtures of the gate's tests."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ar_models.density.table_density import TableDensity
from tasks.evaluation.comparable import Comparable
from tasks.registry.gate.predictions import Predictions, predict
from tasks.runtime.model_store import load
from tests.support.model_pair import ModelPair


@pytest.fixture(scope="module")
def strong(pair: ModelPair) -> TableDensity:
    return load(pair.models["strong"])


@pytest.fixture(scope="module")
def rows(pair: ModelPair) -> pa.Table:
    return pq.read_table(f"{pair.prepared}/test")


@pytest.fixture(scope="module")
def predictions(strong: TableDensity, rows: pa.Table) -> Predictions:
    return predict(Comparable(strong), rows, "model")
