from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tasks.reports import figures


def drawn() -> Figure:
    """Draw a figure with one line."""
    figure, axes = figures.draw_axes(2, 1)
    axes.plot([0, 1], [0, 1])
    return figure


@pytest.mark.parametrize(
    ("name", "short"), [("abcdef", "abcd…"), ("abcde", "abcde"), ("$x$", r"\$x\$")]
)
def test_names_are_shortened_and_no_formulas(name: str, short: str) -> None:
    assert figures.shorten(name, 5) == short


def test_equal_figures_give_equal_files(tmp_path: Path) -> None:
    figures.save_all({"one": drawn, "two": drawn}, str(tmp_path))
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one == two and one.startswith(b"\x89PNG")
    url = figures.to_data_urls({"one": drawn})["one"]
    assert url.startswith("data:image/png;base64,iVBOR")


def test_bars_are_sorted_and_coloured_by_their_sign() -> None:
    columns = [{"name": n, "gain": g} for n, g in (("a", -1.0), ("b", 2.0))]
    (axes,) = figures.draw_differences(columns, "gain", "nats").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [bar.get_width() for bar in axes.patches] == [2.0, -1.0]


def test_a_line_marks_zero_where_intervals_lie_on_both_sides() -> None:
    segment = {"value": "x", "rows": 1200, "nll": 0.5, "nll_interval": (-1.0, 1.0)}
    (axes,) = figures.draw_intervals([segment], "nll", "nats").axes
    assert axes.get_yticklabels()[0].get_text() == "x  (1,200)"
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)


def test_shares_stand_side_by_side() -> None:
    _, (axes, *others) = figures.draw_panels(1, 1)
    figures.draw_shares(axes, ["a", "b"], np.array([0.2, 0.8]), np.array([0.5, 0.5]))
    assert [bar.get_height() for bar in axes.patches] == [0.2, 0.8, 0.5, 0.5]
    assert not any(panel.get_visible() for panel in others)
