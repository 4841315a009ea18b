"""Tests of the rules that synthetic rows violate."""

import numpy as np
import pyarrow as pa

from tasks.evaluation.fidelity.plausibility import MAX_FINDINGS, compare_plausibility
from tasks.evaluation.fidelity.tables import Tables
from tests.support.dependent_columns import dependent_columns


def test_real_rows_are_without_findings() -> None:
    for seed in range(3):
        tables = [dependent_columns(900, 3 * seed + k) for k in range(3)]
        found = compare_plausibility(Tables(*tables))
        assert (found["total"], found["findings"], found["cells"]) == (0, [], {})
        assert found["rows"] == {"synthetic": 0, "held_out": 0}


def test_violations_are_counted_by_row_and_sorted() -> None:
    kinds = np.array(dependent_columns(1000, 2)["kind"].to_pylist(), object)
    kinds[:100] = np.where(kinds[:100] == "a", "b", "a")
    kinds[900:950] = "d"
    synthetic = dependent_columns(1000, 2, kind=pa.array(kinds))

    found = compare_plausibility(
        Tables(dependent_columns(900, 0), dependent_columns(900, 1), synthetic)
    )

    assert found["rows"] == {"synthetic": 0.15, "held_out": 0}
    assert found["combinations"]["synthetic"] == 0.1
    assert found["cells"] == {"kind": 0.05}
    first, second = found["findings"]
    assert (first["check"], first["columns"]) == ("dependence", ("kind", "code"))
    assert (second["check"], second["examples"]) == ("values", ("d",))


def test_the_number_of_listed_findings_is_bounded() -> None:
    count = MAX_FINDINGS + 3
    real = pa.table({f"c{k}": [k] * 300 for k in range(count)})
    other = pa.table({f"c{k}": [k + 1] * 300 for k in range(count)})
    found = compare_plausibility(Tables(real, real, other))
    assert found["total"] == count
    assert len(found["findings"]) == MAX_FINDINGS
