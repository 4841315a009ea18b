import datetime

import pyarrow as pa

from tasks.reports import marginals

DAYS = [datetime.date(2024, 1, day) for day in range(1, 29)]


def test_a_panel_shows_both_kinds_of_rows() -> None:
    real = pa.table({"kind": ["a"] * 21 + ["b"] * 7, "day": DAYS, "n": range(28)})
    synthetic = real.set_column(2, "n", pa.array([None] * 7 + [3] * 21, pa.int64()))
    figure = marginals.draw_marginals(real, synthetic, ["kind", "day", "n"])
    kind, day, number = figure.axes[:3]
    assert [bar.get_height() for bar in kind.patches] == [0.75, 0.25] * 2
    assert number.get_title() == "n\nmissing 0.0% | 25.0%"
    assert [label.get_text() for label in day.get_xticklabels()] == [
        "2024-01-05",
        "2024-01-23",
    ]


def test_dates_after_the_year_9999_have_labels() -> None:
    days = pa.array([3_663_400 + k for k in range(28)], pa.int32()).cast(pa.date32())
    table = pa.table({"day": days})
    (panel,) = marginals.draw_marginals(table, table, ["day"]).axes[:1]
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels[0].startswith("12000-")
