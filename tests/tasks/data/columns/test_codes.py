from typing import Any

import pyarrow as pa
import pytest

from ar_models.tables.code_column import CodeColumn
from ar_models.tables.left_out import LeftOut
from tasks.config.data import DataConfig
from tasks.data.columns.codes import word_column
from tests.support.sketching import sketched


def words(
    cells: list[str | None], kind: str | None = None, **settings: Any
) -> CodeColumn | LeftOut:
    """Return the column `a` that fits some words."""
    data = DataConfig(path="", **settings)
    return word_column("a", pa.string(), sketched(pa.array(cells)), data, kind)


def test_two_values_without_nulls_are_binary() -> None:
    kinds = [words(["x", "y", *rest] * 9).kind for rest in ([], [None], ["z"])]
    assert kinds == ["binary", "categorical", "categorical"]


def test_rare_values_share_a_code() -> None:
    column = words(["x"] * 9 + ["y"] * 9 + ["z", "w"], min_category_count=3)
    assert isinstance(column, CodeColumn)
    assert column.variables[0].size == 3
    assert sorted(column.rare) == ["w", "z"]


def test_too_many_values_are_left_out_or_refused() -> None:
    column = words(["x", "y", "z"] * 9, max_categories=2)
    assert isinstance(column, LeftOut)
    assert column.reason == "3 distinct values exceed data.max_categories"
    with pytest.raises(ValueError, match=r"columns\.a: 3 distinct values.*raise it"):
        words(["x", "y", "z"] * 9, "categorical", max_categories=2)
