import pyarrow as pa

from tasks.evaluation.row_evaluator import count_elements
from tests.support.sketching import fit


def test_a_list_counts_with_its_elements_and_other_cells_once() -> None:
    lists = pa.array([[1, 2, 3], [1], [], None] * 20)
    table = pa.table({"list": lists, "word": ["a", "b", None, "a"] * 20})
    encoder = fit(table)
    counts = count_elements(encoder.encode(table.slice(0, 4)).x, encoder)
    assert counts.tolist() == [[3, 1], [1, 1], [0, 1], [0, 1]]
