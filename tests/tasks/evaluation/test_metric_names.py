import pytest

from tasks.evaluation.metric_names import metric_name


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("test", "nll"), "test/nll"),
        (("test", "a/b", "x=<y>"), "test/a_b/x__y_"),
        (("test", ".."), "test/_.."),
        (("test", "Zürich 1.5"), "test/Zürich 1.5"),
    ],
)
def test_names_are_fit_for_mlflow(parts: tuple[str, ...], name: str) -> None:
    assert metric_name(*parts) == name
