"""Pictures of images, from blocks of columns and from lists."""

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.encoder import Image
from tasks.reports import images


def test_images_stand_row_by_row_whichever_way_they_are_stored() -> None:
    values = np.arange(2 * 6, dtype=np.uint8).reshape(2, 6)
    block = pa.table({f"x{i}": values[:, i] for i in range(6)})
    lists = pa.table({"x": values.tolist()})
    nested = pa.table({"x": values.reshape(2, 2, 3).tolist()})
    expected = values.reshape(2, 2, 3, 1)

    names = tuple(block.column_names)
    found = images.read_pixels(block, Image(names, (2, 3, 1)))
    np.testing.assert_array_equal(found, expected)
    for table in (lists, nested):
        found = images.read_pixels(table, Image(("x",), (2, 3, 1)))
        np.testing.assert_array_equal(found, expected)
    coloured = images.read_pixels(lists, Image(("x",), (1, 2, 3)))
    np.testing.assert_array_equal(coloured[:, 0], values.reshape(2, 2, 3))


def test_an_image_that_is_null_is_black() -> None:
    table = pa.table({"x": pa.array([[1, 2], None], pa.list_(pa.int64()))})
    found = images.read_pixels(table, Image(("x",), (1, 2, 1)))
    assert found.ravel().tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_image_in_its_place(channels: int) -> None:
    image = Image(("x",), (2, 3, channels))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 255, (70, 6 * channels))
    table = pa.table({"x": rows.tolist()})

    figure = images.draw_images([table, table.slice(0, 3)], image)

    whole, few = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    pixels = images.read_pixels(table, image)
    low, high = pixels[:64].min(), pixels[:64].max()
    scaled = (pixels - low) / (high - low)
    tile = whole[2 * 2 : 3 * 2, 5 * 3 : 6 * 3]  # row 2, column 5
    np.testing.assert_allclose(tile, scaled[2 * 8 + 5].squeeze())
    assert not few[2:].any()  # below the first row of the grid there is none


def test_figures_of_pixels_stand_in_their_places() -> None:
    image = Image(("a", "b", "c", "d"), (2, 2, 1))
    columns = [
        {"name": name, "nll": k, "gain": -k, "ks": k / 10}
        for k, name in enumerate(["d", "z", "a", "b", "c"])
    ]
    figure = images.draw_pixel_maps(columns, image)
    drawn = [np.asarray(a.images[0].get_array()) for a in figure.axes if a.get_title()]
    np.testing.assert_array_equal(drawn[0], [[2, 3], [4, 0]])
    np.testing.assert_array_equal(drawn[1], [[-2, -3], [-4, 0]])
