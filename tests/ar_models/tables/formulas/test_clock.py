import pyarrow as pa

from ar_models.tables.formulas.clock import ClockFormula


def test_clock_times_pass_midnight() -> None:
    cells = {"start": pa.array([2350, 10, 2400]), "late": pa.array([20, -20, 0])}
    end = ClockFormula((("start", 1.0),), (("late", 1.0),), midnight=2400)
    assert end.evaluate(cells, pa.int64()).to_pylist() == [10, 2350, 2400]


def test_differences_lie_in_the_day_from_the_lowest() -> None:
    cells = {"end": pa.array([10, 2350]), "start": pa.array([2350, 10])}
    late = ClockFormula(
        (("end", 1.0), ("start", -1.0)), output="minutes", lowest=-720.0
    )
    assert late.evaluate(cells, pa.int64()).to_pylist() == [20, -20]
    assert late.describe() == "end - start (minutes, modulo 24 hours)"
