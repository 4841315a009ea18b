"""Densities and rows that several tests use."""

import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from tests.support.densities import (
    awkward_table,
    learn,
    random_density,
    sample_table,
    table_density,
)


@pytest.fixture(scope="session")
def density() -> TableDensity:
    return table_density()


@pytest.fixture(scope="session")
def rows(density: TableDensity) -> pa.Table:
    return sample_table(density, 3000, seed=2)


@pytest.fixture(scope="session", params=["eonade", "transformer"])
def agnostic(request: pytest.FixtureRequest) -> TableDensity:
    """Return a density that conditions on any columns."""
    return random_density(request.param)


@pytest.fixture(scope="session")
def made() -> TableDensity:
    """Return a density that conditions on first columns only."""
    return random_density("made")


@pytest.fixture(scope="session")
def learned() -> TableDensity:
    return learn(awkward_table(1400))
