import numpy as np

from tasks.reports import evaluation_figures as drawing


def test_curves_of_detection_end_at_one() -> None:
    figure = drawing.draw_detection(
        np.array([3.0, 2.0, 1.0]), np.array([True, False, True])
    )
    roc, _ = figure.axes[0].lines
    np.testing.assert_allclose(roc.get_xdata(), [0, 0, 1, 1])
    np.testing.assert_allclose(roc.get_ydata(), [0, 0.5, 0.5, 1])


def test_a_threshold_is_drawn_with_its_rule() -> None:
    scores = np.arange(10.0)
    (plain,) = drawing.draw_scores(scores).axes
    (marked,) = drawing.draw_scores(scores, 7.5, "budget 3").axes
    assert len(plain.texts) == len(plain.lines) == 0
    assert marked.texts[0].get_text() == "budget 3"
    assert marked.lines[0].get_xdata()[0] == 7.5


def test_uniform_transforms_and_p_values_have_density_one() -> None:
    columns = [{"name": n, "pit": [5, 5], "ks": k} for n, k in (("a", 0), ("b", 0.2))]
    first, second, *_ = drawing.draw_calibration(columns).axes
    assert (first.get_title(), second.get_title()) == ("b  0.200", "a  0.000")
    assert set(first.patches[0].get_data().values) == {1.0}
    (axes,) = drawing.draw_p_values((np.arange(400) + 0.5) / 400).axes
    np.testing.assert_allclose(axes.patches[0].get_data().values, 1.0)


def test_the_best_epoch_is_marked() -> None:
    nlls = [(1, 3.0), (2, 1.0), (3, 2.0)]
    history = [{"epoch": e, "train_nll": v, "valid_nll": v} for e, v in nlls]
    (axes,) = drawing.draw_learning_curve(history).axes
    assert axes.lines[2].get_xydata().tolist() == [[2.0, 1.0]]
