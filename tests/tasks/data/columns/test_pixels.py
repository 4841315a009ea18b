import numpy as np
import pyarrow as pa
import pytest

from tasks.config.data import ImageConfig
from tasks.data.columns.pixels import pixel_column
from tests.support.sketching import sketched


def kind_of(array: pa.Array, pixels: str = "auto") -> str:
    """Return the kind of the column of some pixels."""
    image = ImageConfig.model_validate({"height": 1, "width": 1, "pixels": pixels})
    sketch = sketched(array)
    return pixel_column("p", array.type, sketch, image, "data.images.p").kind


GREY = pa.array(np.arange(100, dtype=np.uint8))


@pytest.mark.parametrize(
    ("array", "pixels", "kind"),
    [
        (pa.array([0, 1, 1]), "auto", "binary"),
        (GREY, "auto", "categorical"),
        (GREY, "mixture", "integer"),
        (pa.array([0, 10_000]), "mixture", "integer"),
        (pa.array([0.0, 0.5, 0.7]), "auto", "real"),
    ],
)
def test_pixels_have_the_kind_that_fits(
    array: pa.Array, pixels: str, kind: str
) -> None:
    assert kind_of(array, pixels) == kind


@pytest.mark.parametrize(
    ("array", "pixels", "message"),
    [
        (pa.array([0, None]), "auto", "must be numbers and not null"),
        (pa.array(["x"]), "auto", "must be numbers and not null"),
        (pa.array([0.5, 0.7]), "softmax", "needs whole numbers; use mixture"),
        (GREY, "binary", "binary does not fit 100 values"),
        (pa.array([0, 10_000]), "softmax", "values from 0 to 10000; use mixture"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(
    array: pa.Array, pixels: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"data.images.p: .*{message}"):
        kind_of(array, pixels)
