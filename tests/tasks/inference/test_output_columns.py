import re

import pyarrow as pa

from ar_models.density.imputer import DETAILS_COLUMN
from ar_models.density.scorer import output_schema
from ar_models.scoring.filled_cells import IMPUTED
from tasks.inference import embed, impute, output_columns
from tasks.inference.output_columns import OUTPUTS, OutputColumn
from tasks.inference.quarantine import PLACE_COLUMNS, QUARANTINE_COLUMNS


def bare(type: pa.DataType) -> str:
    """Return a type as text without the names and types of struct fields."""
    text = re.sub(r"struct<.*>", "struct", str(type))
    return re.sub(r"list<\w+: ", "list<", text) + (
        ">" if text.startswith("list") else ""
    )


def names(columns: tuple[OutputColumn, ...]) -> list[str]:
    return [column.name for column in columns]


def test_scored_columns_are_those_of_the_schema() -> None:
    schema = output_schema(["a", "b"], ["b"])
    documented = [(c.name, c.type) for c in output_columns.SCORED]
    assert [(f.name, bare(f.type)) for f in schema] == documented


def test_the_other_outputs_are_named_as_their_jobs_name_them() -> None:
    assert names(OUTPUTS["embed"]) == [embed.FEATURES]
    assert names(OUTPUTS["impute"]) == [DETAILS_COLUMN, impute.IMPUTATION]
    assert names(output_columns.PLACES) == list(PLACE_COLUMNS)
    assert names(OUTPUTS["quarantine"]) == list(QUARANTINE_COLUMNS)
    details = {f.name for f in IMPUTED.value_type}
    assert all(f"`{name}`" in OUTPUTS["impute"][0].meaning for name in details)
