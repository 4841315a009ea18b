"""Tests of the set-up that benchmarks share."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scripts import import_script


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    return import_script("harness")


def test_a_section_of_a_page_is_replaced(harness: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    assert harness.read_section(path, "a") == "old\n"
    harness.write_section(path, "new", "a")
    assert path.read_text() == "before\n<!-- a -->\nnew\n<!-- end of a -->\nafter\n"
    with pytest.raises(ValueError, match="needs the lines '<!-- b -->'"):
        harness.write_section(path, "new", "b")


def test_works_are_timed_in_turns(harness: ModuleType) -> None:
    calls: list[str] = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = harness.interleaved(works, repetitions=3)
    assert calls == ["a", "b"] * 3
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_tables_are_markdown(harness: ModuleType) -> None:
    assert harness.header("a", "b") == "| a | b |\n|---|---|"
    assert harness.row(1, "x") == "| 1 | x |"


def test_labels_are_no_columns(harness: ModuleType, tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "label": [0, 1], "b": [0.5, 1.5]})
    pq.write_table(table, tmp_path / "rows.parquet")
    x, label = harness.read_labelled(tmp_path / "rows.parquet")
    np.testing.assert_array_equal(x, [[1, 0.5], [2, 1.5]])
    assert label.tolist() == [0, 1]


def test_frequencies_of_binary_variables_have_a_prior(harness: ModuleType) -> None:
    (one,) = harness.binary_variables(np.ones((2, 1)), prior=1.0)
    assert one.frequencies == (0.25, 0.75)
