import pyarrow as pa

from ar_models.scoring.empty_cells import missing_code
from tests.support.columns import fit_columns


def test_the_code_of_a_missing_value_is_that_of_the_first_variable() -> None:
    table = pa.table(
        {
            "word": ["a", "b", None, "a"] * 9,
            "number": [1, 5, None, 900] * 9,
            "always": [1, 5, 7, 900] * 9,
        }
    )
    encoder = fit_columns(table)
    assert [missing_code(column) for column in encoder.columns] == [2, 1, -1]
