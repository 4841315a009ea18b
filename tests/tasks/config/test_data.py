from tasks.config.data import DataConfig, ImageConfig, SequenceConfig, SplitConfig
from tests.support.sections import assert_refused


def test_splits_that_cannot_be_made_are_refused() -> None:
    assert_refused(SplitConfig, {"by": "time"}, "by: time needs column")
    shares = {"valid": 0.5, "test": 0.5}
    assert_refused(SplitConfig, shares, "must add up to less than 1")


def test_an_image_has_a_shape_and_a_size() -> None:
    image = ImageConfig(height=2, width=3, channels=4)
    assert image.shape == (2, 3, 4)
    assert image.size == 24


def test_a_sequence_is_sorted_by_its_columns() -> None:
    assert SequenceConfig(key="k").columns == ["k"]
    assert SequenceConfig(key="k", order_by="t").columns == ["k", "t"]


def test_ids_and_excluded_columns_are_not_modelled() -> None:
    columns = {"a": {"kind": "real"}}
    keys = {"path": "p", "id": ["k"], "exclude": ["x"], "columns": columns}
    data = DataConfig.model_validate(keys)
    assert data.modelled(["x", "b", "k", "a"]) == ("b", "a")
    assert (data.kind_of("a"), data.kind_of("b")) == ("real", None)
