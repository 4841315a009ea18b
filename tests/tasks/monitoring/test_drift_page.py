from typing import Any

import numpy as np

from tasks.monitoring import drift_page
from tasks.monitoring.histograms import Histogram, Scale


def column(name: str, marginal: float, conditional: float | None) -> dict[str, Any]:
    """Return a column of drift.json with these KS distances."""
    sizes = {"marginal": marginal, "conditional": conditional}
    return {"name": name, "monitored": True} | {
        kind: {"ks": None if v is None else {"value": v, "low": v / 2, "high": 2 * v}}
        for kind, v in sizes.items()
    }


COLUMNS = [column("a", 0.1, None), column("b", 0.2, 0.4)]


def test_tiles_name_the_columns_with_the_largest_drift() -> None:
    log_prob = {"means": [None, -1.234], "ks": None}
    first, *others = drift_page.tiles({"log_prob": log_prob, "columns": COLUMNS})
    assert first.value == "–"
    assert first.remark == (
        "KS distance; mean – nats per calibration row, -1.23 per new row"
    )
    assert [tile.remark for tile in others] == ["KS distance of b"] * 2


def test_effects_are_drawn_with_the_largest_on_top() -> None:
    (axes,) = drift_page.draw_effects(COLUMNS, 0.15).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [0.2, 0.1, 0.4, 0.0]


def test_a_panel_shows_both_distributions() -> None:
    numbers, codes = Scale((0.0, 1.0, 2.0)), Scale((), ("x", "y"))
    pairs = [
        (codes, Histogram(np.array([3, 1]), np.zeros(2))),
        (numbers, Histogram(np.array([0, 1, 1, 0]), np.zeros(4))),
    ]
    shown = [(c, s, (h, h)) for c, (s, h) in zip(COLUMNS, pairs, strict=True)]
    second, first, *_ = drift_page.draw_columns(shown, "marginal", 1.5).axes
    assert [bar.get_height() for bar in first.patches] == [0.75, 0.25] * 2
    old, new = (patch.get_data().values for patch in second.patches)
    np.testing.assert_allclose(old, 1 / drift_page.CELLS)
    np.testing.assert_allclose(new, old)
