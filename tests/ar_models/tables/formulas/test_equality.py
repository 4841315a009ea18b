import pyarrow as pa

from ar_models.tables.formulas.equality import Equality


def test_a_copy_converts_between_types_of_one_family() -> None:
    words = {"a": pa.array(["x", None]).dictionary_encode()}
    assert Equality("a").evaluate(words, pa.large_string()).to_pylist() == ["x", None]
    numbers = {"a": pa.array([1.0, 2.5])}
    assert Equality("a").evaluate(numbers, pa.int64()).to_pylist() == [1, None]
    assert Equality("a").evaluate(words, pa.int64()).null_count == 2
    back = Equality("a").solve("a", pa.string(), {}, words["a"])
    assert back.to_pylist() == ["x", None]
