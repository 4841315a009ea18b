from pathlib import Path

import pytest

from tests.support.preparing import example_table, run_prepare, write_files


def test_two_hundred_rows_are_enough_and_ten_are_not(tmp_path: Path) -> None:
    run_prepare(write_files(tmp_path / "enough", example_table(200), 1), tmp_path / "a")
    few = write_files(tmp_path / "few", example_table(5), 1)
    message = "with 5 rows no row is in the splits .*; .* about 50 rows are needed"
    with pytest.raises(ValueError, match=message):
        run_prepare(few, tmp_path / "b")
    with pytest.raises(ValueError, match="every split needs a share above 0"):
        run_prepare(tmp_path / "enough", tmp_path / "c", split={"valid": 0})
