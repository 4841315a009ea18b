"""A registered version that the tests of the registry share."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import load_density
from ar_models.density.table_density import TableDensity
from tasks.registry.promotion import Promotion
from tests.support.model_pair import ModelPair, register_and_gate


@pytest.fixture(scope="session")
def first(pair: ModelPair) -> Promotion:
    return register_and_gate(pair, "alone", "strong")


@pytest.fixture(scope="session")
def pyfunc(first: Promotion) -> Any:
    return mlflow.pyfunc.load_model("models:/alone@champion")


@pytest.fixture(scope="session")
def density(pair: ModelPair) -> TableDensity:
    return load_density(Path(pair.models["strong"]))


@pytest.fixture(scope="session")
def frame(pair: ModelPair) -> pd.DataFrame:
    path = sorted(Path(pair.prepared, "test").glob("part-*.parquet"))[0]
    return pq.read_table(path).slice(0, 100).to_pandas()
