"""From the ordering of a configuration to the one that a model is built with."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.families.chow_liu import dependence_orderings
from ar_models.tables.encoder import TableEncoder
from tasks.runtime import storage

ROWS = 20_000
"""Train rows that show how columns depend on one another, about."""

FILES = 64
"""Files that they are taken from, at most."""


def resolve(
    model: dict[str, Any],  # JSON-able values
    encoder: TableEncoder,
    prepared: str,
) -> dict[str, Any]:  # likewise
    """A model's configuration with an ordering that needs neither names nor data.

    "dependence", orders of pixels and names of columns become the sequence of groups of
    each ordering; "natural" and "random" stay.

    Args:
        model: As in the configuration file.
        encoder: Of the prepared dataset.
        prepared: Its folder.

    Raises:
        ValueError: The names are not those of modelled columns, each once, or there are
            no images to take in an order of pixels.
    """
    ordering = model.get("ordering")
    if ordering == "dependence":
        x = some_rows(storage.join(prepared, "encoded", "train"))
        sequences = dependence_orderings(
            encoder.variables, x, model.get("orderings", 1)
        )
    elif ordering in ("raster", "column", "spiral"):
        if model.get("orderings", 1) > 1:
            raise ValueError(
                f"model.ordering: {ordering} is one ordering, got orderings: "
                f"{model['orderings']}; use random for more"
            )
        sequences = [pixel_sequence(encoder, ordering)]
    elif isinstance(ordering, Sequence) and not isinstance(ordering, str):
        first = places(ordering, [column.name for column in encoder.columns])
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


def groups_of(encoder: TableEncoder) -> list[list[int]]:
    """The groups of variables of each column: one, or one per place of an image."""
    groups: list[dict[int, None]] = [{} for _ in encoder.columns]
    for variable in encoder.variables:
        groups[variable.column_index][variable.group] = None
    return [list(of_column) for of_column in groups]


def pixel_sequence(encoder: TableEncoder, order: str) -> list[int]:
    """The sequence of all groups, with the pixels of images in an order.

    What is no image stays where it is, and the channels of a pixel stay together.

    Args:
        encoder: Of the images.
        order: "raster", "column" or "spiral".
    """
    if not encoder.images:
        raise ValueError(
            f"model.ordering: {order} is for images; say under data.images which "
            "columns are their pixels, or take another ordering"
        )
    of_column = dict(zip(encoder.names, groups_of(encoder), strict=True))
    sequence = [group for groups in of_column.values() for group in groups]
    for image in encoder.images:
        own = [group for name in image.columns for group in of_column[name]]
        if len(own) != math.prod(image.shape):
            raise ValueError(
                f"model.ordering: {order} cannot be had of {image.columns[0]!r}, which "
                "may be null; leave out such rows, or take the ordering natural"
            )
        slots = sorted(sequence.index(group) for group in own)
        for slot, place in zip(slots, pixel_places(image.shape, order), strict=True):
            sequence[slot] = own[place]
    return sequence


def pixel_places(shape: tuple[int, int, int], order: str) -> list[int]:
    """The places of an image's values, numbered row by row, in an order."""
    height, width, channels = shape
    pixels = np.arange(height * width).reshape(height, width)
    if order == "column":
        pixels = pixels.T
    elif order == "spiral":
        rims = []
        while pixels.size:
            rims.append(pixels[0])
            pixels = np.rot90(pixels[1:])
        pixels = np.concatenate(rims)
    places = pixels.reshape(-1, 1) * channels + np.arange(channels)
    return [int(place) for place in places.ravel()]


def some_rows(folder: str, count: int = ROWS) -> np.ndarray:
    """About `count` encoded rows (rows, dim), spread over the files of a folder."""
    names = [n for n in storage.list_files(folder) if n.startswith("part-")]
    chosen = [names[k] for k in _spread(len(names), FILES)]
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
    """At most so many of 0 … count - 1, evenly spread."""
    return [k * count // min(count, most) for k in range(min(count, most))]


def places(ordering: Sequence[str], names: list[str]) -> list[int]:
    """The numbers of the columns that are named."""
    unknown = [name for name in ordering if name not in names]
    if unknown:
        raise ValueError(
            f"model.ordering: no modelled column {', '.join(map(repr, unknown))}; "
            f"there are {', '.join(names)}"
        )
    if len(set(ordering)) < len(ordering):
        raise ValueError(
            f"model.ordering: each column once, please, got {list(ordering)}"
        )
    return [names.index(name) for name in ordering]


def start_with(
    first: list[int], count: int, orderings: int, seed: int
) -> list[list[int]]:
    """Sequences of the groups 0 … count - 1 that start with some of them.

    The others follow as they come in the first sequence, and shuffled in all more.
    """
    rest = np.setdiff1d(np.arange(count), first)
    generator = np.random.default_rng(seed)
    shuffled = [generator.permutation(rest) for _ in range(orderings - 1)]
    return [[*first, *map(int, others)] for others in [rest, *shuffled]]
