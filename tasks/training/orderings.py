"""The ordering of a configuration, resolved to sequences of variable groups."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ar_models.families.chow_liu import dependence_orderings
from ar_models.tables.encoder import TableEncoder
from ar_models.variables import Variable
from tasks.config.section import AUTO
from tasks.runtime import storage

SAMPLE_ROWS = 20_000
"""Approximate number of train rows from which dependences are estimated."""

SAMPLE_FILES = 64
"""Maximum number of files that these rows are read from."""


def resolve(
    model: dict[str, Any],  # JSON-able values
    encoder: TableEncoder,
    prepared: str,
) -> dict[str, Any]:  # likewise
    """Replace the ordering in a model's configuration by sequences of groups.

    "auto", "dependence", pixel orders and lists of column names become one sequence of
    groups per ordering; "natural" and "random" stay.

    Args:
        model: Configuration of the network.
        encoder: Encoder of the prepared dataset.
        prepared: Folder of the prepared dataset.

    Raises:
        ValueError: A name is not that of a modelled column or is given twice, or there
            are no images for a pixel order.
    """
    ordering = model.get("ordering")
    if ordering == AUTO:
        count = model.get("orderings", 1)
        found = automatic(encoder.variables, count, images=bool(encoder.images))
        return model | {"ordering": found}
    if ordering == "dependence":
        x = sample_rows(storage.join(prepared, "encoded", "train"))
        sequences = dependence_orderings(
            encoder.variables, x, model.get("orderings", 1)
        )
    elif ordering in ("raster", "column", "spiral"):
        if model.get("orderings", 1) > 1:
            raise ValueError(
                f"model.ordering: {ordering} is a single ordering, got orderings: "
                f"{model['orderings']}; use random for several"
            )
        sequences = [pixel_sequence(encoder, ordering)]
    elif isinstance(ordering, Sequence) and not isinstance(ordering, str):
        first = column_indices(ordering, [column.name for column in encoder.columns])
        of_column = groups_of(encoder)
        sequences = start_with(
            [group for j in first for group in of_column[j]],
            sum(map(len, of_column)),
            model.get("orderings", 1),
            model["seed"],
        )
    else:
        return model
    return model | {"ordering": sequences}


def automatic(
    variables: Sequence[Variable], orderings: int, *, images: bool = False
) -> Literal["natural", "random"] | list[list[int]]:
    """Return the ordering that suits the columns of a table.

    Columns of codes come before numbers, and otherwise columns stay in their order:
    a network learns a mixture for each combination of codes more easily than codes that
    depend on numbers. Images and sequences stay in their natural order, several
    orderings are random.

    Args:
        variables: Variables of the table.
        orderings: Number of orderings.
        images: Whether some of them are pixels.
    """
    if orderings > 1:
        return "random"
    if images or any(v.at_least for v in variables):
        return "natural"
    numbers = {v.group for v in variables if v.kind in ("integer", "real")}
    groups = list(dict.fromkeys(v.group for v in variables))
    sequence = sorted(groups, key=lambda group: group in numbers)
    return "natural" if sequence == groups else [sequence]


def groups_of(encoder: TableEncoder) -> list[list[int]]:
    """Return the groups of each column: one, or one per position of an image."""
    groups: list[dict[int, None]] = [{} for _ in encoder.columns]
    for variable in encoder.variables:
        groups[variable.column_index][variable.group] = None
    return [list(of_column) for of_column in groups]


def pixel_sequence(encoder: TableEncoder, order: str) -> list[int]:
    """Return the sequence of all groups, with the pixels of images in a given order.

    Other columns stay where they are, and the channels of a pixel stay together.

    Args:
        encoder: Encoder with images.
        order: "raster", "column" or "spiral".
    """
    if not encoder.images:
        raise ValueError(
            f"model.ordering: {order} requires images; name the columns of their "
            "pixels in data.images, or choose another ordering"
        )
    of_column = dict(zip(encoder.names, groups_of(encoder), strict=True))
    sequence = [group for groups in of_column.values() for group in groups]
    for image in encoder.images:
        own = [group for name in image.columns for group in of_column[name]]
        if len(own) != math.prod(image.shape):
            raise ValueError(
                f"model.ordering: {order} is not possible for {image.columns[0]!r}, "
                "which may be null; remove such rows, or choose the ordering natural"
            )
        slots = sorted(sequence.index(group) for group in own)
        for slot, place in zip(slots, pixel_places(image.shape, order), strict=True):
            sequence[slot] = own[place]
    return sequence


def pixel_places(shape: tuple[int, int, int], order: str) -> list[int]:
    """Return the positions of an image's values, numbered row by row, in an order.

    Args:
        shape: Height, width and number of channels.
        order: "raster", "column" or "spiral".
    """
    height, width, channels = shape
    pixels = np.arange(height * width).reshape(height, width)
    if order == "column":
        pixels = pixels.T
    elif order == "spiral":
        rings = []
        while pixels.size:
            rings.append(pixels[0])
            pixels = np.rot90(pixels[1:])
        pixels = np.concatenate(rings)
    places = pixels.reshape(-1, 1) * channels + np.arange(channels)
    return [int(place) for place in places.ravel()]


def sample_rows(folder: str, count: int = SAMPLE_ROWS) -> np.ndarray:
    """Read about `count` encoded rows, (rows, dim), spread over the files of a folder.

    Args:
        folder: Folder with the files part-*.arrow.
        count: Approximate number of rows.
    """
    names = [n for n in storage.list_files(folder) if n.startswith("part-")]
    chosen = [names[k] for k in _spread(len(names), SAMPLE_FILES)]
    parts = []
    for name in chosen:
        filesystem, inner = storage.resolve(storage.join(folder, name))
        with filesystem.open_input_file(inner) as file:
            reader = pa.ipc.open_file(file)
            share = -(-count // (len(chosen) * max(reader.num_record_batches, 1)))
            for k in range(reader.num_record_batches):
                column = reader.get_batch(k).column("x")
                x = column.flatten().to_numpy().reshape(len(column), -1)
                parts.append(x[_spread(len(x), share)])
    return np.concatenate(parts)


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers 0 … count - 1, evenly spread."""
    return [k * count // min(count, most) for k in range(min(count, most))]


def column_indices(ordering: Sequence[str], names: list[str]) -> list[int]:
    """Return the indices of columns by name; raise a ValueError if one is wrong.

    Args:
        ordering: Names of modelled columns, each once.
        names: Names of all modelled columns.
    """
    unknown = [name for name in ordering if name not in names]
    if unknown:
        raise ValueError(
            f"model.ordering: no modelled column {', '.join(map(repr, unknown))}; "
            f"available columns: {', '.join(names)}"
        )
    if len(set(ordering)) < len(ordering):
        raise ValueError(f"model.ordering: duplicate column in {list(ordering)}")
    return [names.index(name) for name in ordering]


def start_with(
    first: list[int], count: int, orderings: int, seed: int
) -> list[list[int]]:
    """Return sequences of the groups 0 … count - 1 that start with given ones.

    The other groups follow in ascending order in the first sequence, and shuffled in
    all others.

    Args:
        first: Groups that come first.
        count: Number of groups.
        orderings: Number of sequences.
        seed: Random seed of the shuffles.
    """
    rest = np.setdiff1d(np.arange(count), first)
    generator = np.random.default_rng(seed)
    shuffled = [generator.permutation(rest) for _ in range(orderings - 1)]
    return [[*first, *map(int, others)] for others in [rest, *shuffled]]
