"""Columns of lists, of text as sequences of letters, and of images in lists."""

from collections.abc import Callable
from fnmatch import fnmatchcase

import pyarrow as pa

from ar_models.tables.columns import Column
from ar_models.tables.left_out import LeftOut
from ar_models.tables.list_cells import element_types
from ar_models.tables.list_column import ListColumn, variables_of
from tasks.config.data import DataConfig, ImageConfig
from tasks.data.columns.numbers import integer_variable
from tasks.data.columns.pixels import pixel_column
from tasks.data.columns.states import state_variable
from tasks.data.sketches import ListSketch, Sketch

MAX_VARIABLES = 1 << 16
"""Number of variables of a column of lists."""

InferElement = Callable[[str, str, pa.DataType, Sketch, DataConfig], Column | LeftOut]
"""Infers the column of an element from the names of the list column and of the field,
the type and the sketch of the field, and the configuration."""


def list_column(
    name: str,
    type: pa.DataType,
    sketch: ListSketch,
    data: DataConfig,
    infer_element: InferElement,
) -> ListColumn | LeftOut:
    """Return a column of lists or text: their length, and one element for all places.

    Raises:
        ValueError: The lists are too long, or not as `data.images` says.
    """
    lengths = sketch.lengths
    if lengths.low is None or lengths.high == 0:
        return LeftOut(name, str(type), "all lists are empty")
    image = _image_of(name, lengths.low, lengths.high, data)
    elements = _elements(name, type, sketch, data, image, infer_element)
    if isinstance(elements, LeftOut):
        return elements
    places = int(lengths.high)
    width = sum(len(element.variables) for element in elements)
    if places * width > MAX_VARIABLES:
        raise ValueError(
            f"data.columns.{name}: the longest list has {places} places, which makes "
            f"{places * width} variables, but at most {MAX_VARIABLES} are possible; "
            "shorten the lists, or leave the column out"
        )
    names, state = state_variable(name, sketch, {})
    length = None
    if lengths.low < lengths.high:
        parent = None if state is None else 0
        given = lengths.distribution()
        length = integer_variable(f"{name}.length", given, parent, lengths.low, places)
    variables = variables_of(
        name,
        elements,
        places=places,
        state=state,
        length=length,
        apart=image is not None and state is None,
    )
    return ListColumn(
        name,
        "image" if image else "sequence",
        str(type),
        sketch.rows,
        variables,
        elements,
        places,
        int(lengths.low),
        image.shape if image else (),
        names,
    )


def _image_of(
    name: str, shortest: int, longest: int, data: DataConfig
) -> ImageConfig | None:
    """Return the configuration of the images in a column, or None for other lists."""
    matches = (i for pattern, i in data.images.items() if fnmatchcase(name, pattern))
    image = next(matches, None)
    if image and not shortest == longest == image.size:
        raise ValueError(
            f"data.images.{name}: lists of {shortest} to {longest} values are no "
            f"images of {' x '.join(map(str, image.shape))} = {image.size} values; "
            "correct height, width and channels"
        )
    return image


def _elements(
    name: str,
    type: pa.DataType,
    sketch: ListSketch,
    data: DataConfig,
    image: ImageConfig | None,
    infer_element: InferElement,
) -> tuple[Column, ...] | LeftOut:
    """Return the columns of the fields of an element, or why there are none."""
    types = element_types(type)
    assert types is not None
    elements: list[Column] = []
    for field, of in types.items():
        inner = sketch.fields[field]
        if image:
            elements.append(
                pixel_column(field, of, inner, image, f"data.images.{name}")
            )
            continue
        found = infer_element(name, field, of, inner, data)
        if isinstance(found, LeftOut):
            return LeftOut(name, str(type), f"its elements: {found.reason}")
        elements.append(found)
    return tuple(elements)
