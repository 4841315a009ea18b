from typing import Any

from tasks.monitoring.period_figure import MAX_LINES, draw_periods


def period(day: int, value: float | None) -> dict[str, Any]:
    """Return a period in which the column b has a KS distance and others have less."""
    size = None if value is None else {"value": value}
    others = [{"name": f"c{k}", "marginal": {"value": 0.01}} for k in range(7)]
    return {
        "period": f"2026-01-{day:02}",
        "log_prob_ks": size,
        "columns": [*others, {"name": "b", "marginal": size}],
    }


def test_the_columns_that_change_most_have_a_line() -> None:
    found = [period(1, 0.05), period(2, 0.4), period(3, None)]
    figure = draw_periods({"periods": found, "limits": {"ks": 0.1}})
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels[0] == "b" and labels[-2:] == ["log-probability", "limit"]
    assert len(labels) == MAX_LINES + 2
    assert axes.lines[0].get_ydata()[1] == 0.4  # type: ignore[index]
