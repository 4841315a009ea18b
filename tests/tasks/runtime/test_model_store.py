"""Saved models: identity, and datasets that a model cannot read."""

import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from tasks.runtime import model_store
from tests.support.tables import small_table


@pytest.fixture
def density(small_model: str) -> TableDensity:
    return model_store.load(small_model)


def test_a_description_holds_the_fingerprint(density: TableDensity) -> None:
    fingerprint = model_store.fingerprint(density)
    assert model_store.describe(density, None) == {"fingerprint": fingerprint}
    info = {"name": "small", "version": "3"}
    about = model_store.describe(density, info)
    assert about == {**info, "fingerprint": fingerprint}


def test_a_dataset_with_another_schema_is_named(density: TableDensity) -> None:
    schema = small_table(1).schema
    model_store.check_readable(density, "rows", schema)
    other = schema.set(schema.get_field_index("count"), pa.field("count", pa.string()))
    with pytest.raises(ValueError, match="rows: column 'count' is string"):
        model_store.check_readable(density, "rows", other)
