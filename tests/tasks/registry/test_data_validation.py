"""Whether new data is fit to learn from, and what is said when it is not."""

import copy
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pytest

from tasks.config.data_validation import DataValidationConfig
from tasks.data.prepared import arrow_schema, describe_schema
from tasks.registry import data_validation, tracking
from tasks.registry.data_validation import DatasetDescription, ValidationResult
from tasks.runtime import storage
from tests.support.model_pair import ModelPair

CONFIG = DataValidationConfig()


@pytest.fixture(scope="module")
def description(pair: ModelPair) -> DatasetDescription:
    profile, schema = (
        storage.read_json(f"{pair.prepared}/{file}") for file in data_validation.FILES
    )
    return DatasetDescription("7", profile, schema)


def failed(result: ValidationResult) -> list[str]:
    return [check.name for check in result.checks if not check.passed]


def test_the_same_data_is_fit(pair: ModelPair, description: DatasetDescription) -> None:
    verdict = data_validation.validate(pair.prepared, description, CONFIG)
    assert verdict.passed
    assert verdict.valid
    assert verdict.reference == "7"
    names = [check.name for check in verdict.checks]
    assert {"min_rows", "columns", "rows_ratio", "nulls/count"} <= set(names)
    assert {"drift/count", "drift/kind <b>", "drift/large"} <= set(names)
    assert "drift/time" not in names  # Time moves on.


def test_the_first_data_is_held_against_no_other(pair: ModelPair) -> None:
    verdict = data_validation.validate(pair.prepared, None, CONFIG)
    assert verdict.passed
    few = data_validation.validate(
        pair.prepared, None, DataValidationConfig(min_rows=10_000)
    )
    assert failed(few) == ["min_rows"]


def change_schema(description: DatasetDescription, schema: pa.Schema) -> None:
    description.schema.update(describe_schema(schema))


def spoil_columns(description: DatasetDescription) -> None:
    schema = arrow_schema(description.schema)
    place = schema.get_field_index("kind <b>")
    schema = schema.set(place, pa.field("kind <b>", pa.int64()))
    change_schema(description, schema.append(pa.field("gone", pa.bool_())))


def spoil_rows(description: DatasetDescription) -> None:
    description.profile["rows"]["train"] *= 3


def spoil_nulls(description: DatasetDescription) -> None:
    column(description, "count")["missing"] = -1000


def spoil_numbers(description: DatasetDescription) -> None:
    pairs = column(description, "amount")["distribution"]
    column(description, "amount")["distribution"] = [
        [v + 5, share] for v, share in pairs
    ]


def spoil_words(description: DatasetDescription) -> None:
    top = column(description, "kind <b>")["top"]
    top[0][0] = "another"


def column(description: DatasetDescription, name: str) -> Any:
    return next(c for c in description.profile["columns"] if c["name"] == name)


@pytest.mark.parametrize(
    ("spoil", "names", "said"),
    [
        (spoil_columns, ["columns"], "gone was removed"),
        (spoil_rows, ["rows_ratio"], "the champion's dataset had"),
        (spoil_nulls, ["nulls/count"], "nulls"),
        (spoil_numbers, ["drift/amount"], "in the champion's dataset"),
        (spoil_words, ["drift/kind <b>"], "in the champion's dataset"),
    ],
)
def test_data_that_is_not_as_it_was_is_refused_with_the_reason(
    pair: ModelPair,
    description: DatasetDescription,
    spoil: Any,
    names: list[str],
    said: str,
) -> None:
    other = copy.deepcopy(description)
    spoil(other)
    verdict = data_validation.validate(pair.prepared, other, CONFIG)
    assert not verdict.passed
    assert failed(verdict) == names
    assert said in verdict.reason
    warned = data_validation.validate(
        pair.prepared, other, DataValidationConfig(on_failure="warn")
    )
    assert (warned.passed, warned.valid) == (True, False)


def test_new_columns_are_allowed_unless_all_must_be_the_same(
    pair: ModelPair, description: DatasetDescription
) -> None:
    other = copy.deepcopy(description)
    change_schema(other, arrow_schema(other.schema).remove(0))
    assert data_validation.validate(pair.prepared, other, CONFIG).passed
    same = data_validation.validate(
        pair.prepared, other, DataValidationConfig(columns="same")
    )
    assert failed(same) == ["columns"]
    spoil_columns(other)
    assert not data_validation.validate(pair.prepared, other, CONFIG).passed
    assert data_validation.validate(
        pair.prepared, other, DataValidationConfig(columns="any")
    ).valid


def test_types_of_the_same_meaning_are_the_same_columns(
    pair: ModelPair, description: DatasetDescription
) -> None:
    other = copy.deepcopy(description)
    types = {"kind <b>": pa.large_string(), "count": pa.int16(), "amount": pa.float32()}
    types["time"] = pa.timestamp("ns")
    schema = arrow_schema(other.schema)
    fields = [f.with_type(types.get(f.name, f.type)) for f in schema]
    change_schema(other, pa.schema(fields))
    verdict = data_validation.validate(
        pair.prepared, other, DataValidationConfig(columns="same")
    )
    assert verdict.passed
    names = {check.name for check in verdict.checks}
    assert {"drift/kind <b>", "drift/count", "drift/amount"} <= names


def test_a_champion_tells_later_runs_what_it_learned_from(
    pair: ModelPair, tmp_path: Path
) -> None:
    assert data_validation.champion_dataset("unheard of") is None
    run_id = tracking.start("telling facts", "key", {}, {})
    data_validation.log_description(run_id, pair.prepared)
    client = mlflow.MlflowClient()
    client.create_registered_model("telling facts")
    client.create_model_version("telling facts", str(tmp_path), run_id)
    client.set_registered_model_alias("telling facts", "champion", "1")
    found = data_validation.champion_dataset("telling facts")
    assert found is not None
    assert found.version == "1"
    assert found.profile == storage.read_json(f"{pair.prepared}/profile.json")
