"""Orderings from data and from names."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.encoder import Image
from ar_models.variables import binary_variables
from tasks.config.load import load
from tasks.training import orderings
from tests.support.dependent_columns import chain_of_bits
from tests.support.lists import FIXED, pixels
from tests.support.sketching import fit


def write(folder: Path, x: np.ndarray) -> None:
    """Write encoded rows in two files of several batches."""
    folder.mkdir(parents=True)
    for k, part in enumerate(np.array_split(x, 2)):
        values = pa.FixedSizeListArray.from_arrays(part.ravel(), x.shape[1])
        batches = pa.table({"x": values}).to_batches(max_chunksize=700)
        with pa.ipc.new_file(folder / f"part-{k}.arrow", batches[0].schema) as file:
            for batch in batches:
                file.write_batch(batch)


class Encoder:
    """Encoder with the attributes that orderings need."""

    def __init__(self, dim: int) -> None:
        self.variables = binary_variables(dim)
        self.columns = [type("Column", (), {"name": f"c{i}"}) for i in range(dim)]


def resolve(folder: Path, **model: Any) -> Any:
    given = {"orderings": 1, "seed": 0} | model
    resolved = orderings.resolve(given, Encoder(5), str(folder))  # type: ignore[arg-type]
    assert resolved | {"ordering": None} == given | {"ordering": None}
    return resolved["ordering"]


def test_dependence_is_learned_from_the_encoded_rows(tmp_path: Path) -> None:
    write(tmp_path / "encoded/train", chain_of_bits(5000))

    assert resolve(tmp_path, ordering="dependence") == [[0, 2, 3, 1, 4]]


def test_some_rows_come_from_all_files(tmp_path: Path) -> None:
    x = np.arange(5000, dtype=np.float32).reshape(-1, 1)
    write(tmp_path / "train", x)

    some = orderings.sample_rows(str(tmp_path / "train"), 100)[:, 0]

    assert 100 <= len(set(some.tolist())) == len(some) < 130
    assert np.abs(np.quantile(some, [0.25, 0.5, 0.75]) - [1250, 2500, 3750]).max() < 150


def test_named_columns_come_first(tmp_path: Path) -> None:
    assert resolve(tmp_path, ordering=["c3", "c1"]) == [[3, 1, 0, 2, 4]]
    more = resolve(tmp_path, ordering=["c3"], orderings=3)
    assert [one[0] for one in more] == [3, 3, 3]
    assert len(set(map(tuple, more))) == 3
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in more)


def test_families_with_one_ordering_take_names_too(tmp_path: Path) -> None:
    given = {"family": "vae", "decoder": "made", "ordering": ["c3"], "seed": 0}

    resolved = orderings.resolve(given, Encoder(5), str(tmp_path))  # type: ignore[arg-type]

    assert resolved == given | {"ordering": [[3, 0, 1, 2, 4]]}


@pytest.mark.parametrize("ordering", ["natural", "random"])
def test_other_orderings_stay(tmp_path: Path, ordering: str) -> None:
    assert resolve(tmp_path, ordering=ordering) == ordering


@pytest.mark.parametrize(
    ("ordering", "message"),
    [
        (["c1", "price"], "no modelled column 'price'; available columns: c0, c1,"),
        (["c1", "c1"], r"duplicate column in \['c1', 'c1'\]"),
    ],
)
def test_wrong_names_are_named(
    tmp_path: Path, ordering: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(tmp_path, ordering=ordering)


def test_a_mistaken_ordering_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\ndata: {path: x}\nmodel: {ordering: sideways}\n")

    with pytest.raises(ValueError, match="'natural', 'random', 'dependence', ") as said:
        load(path)

    assert "  model.ordering: " in str(said.value)


def test_orders_of_pixels() -> None:
    assert orderings.pixel_places((2, 3, 1), "raster") == [0, 1, 2, 3, 4, 5]
    assert orderings.pixel_places((2, 3, 1), "column") == [0, 3, 1, 4, 2, 5]
    assert orderings.pixel_places((3, 3, 1), "spiral") == [0, 1, 2, 5, 8, 7, 6, 3, 4]
    assert orderings.pixel_places((2, 2, 2), "column") == [0, 1, 4, 5, 2, 3, 6, 7]


def test_only_the_pixels_of_images_are_reordered() -> None:
    x = pixels(5)
    table = pa.table(
        {
            "before": pa.array(x[:, 0]),
            "image": pa.array(x.tolist(), FIXED),
            "after": pa.array(x[:, 1]),
        }
    )
    encoder = fit(table, images={"image": {"height": 3, "width": 4}})

    found = orderings.pixel_sequence(encoder, "column")

    places = orderings.pixel_places((3, 4, 1), "column")
    assert found == [0, *(1 + place for place in places), 13]
    assert encoder.images == (Image(("image",), (3, 4, 1)),)


def test_an_order_of_pixels_needs_images() -> None:
    encoder = fit(pa.table({"a": pixels(5)[:, 0]}))
    with pytest.raises(ValueError, match="model.ordering: spiral requires images"):
        orderings.pixel_sequence(encoder, "spiral")


def test_by_default_categories_and_dates_come_before_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = (rng.integers(0, 900, 600) * 86_400).astype("datetime64[s]")
    table = pa.table(
        {
            "amount": rng.integers(0, 90_000, 600),
            "kind": rng.choice(["a", "b"], 600),
            "weight": rng.normal(size=600),
            "placed": days,
        }
    )
    encoder = fit(table)

    found = orderings.resolve({"ordering": "auto", "seed": 0}, encoder, str(tmp_path))
    several = orderings.automatic(encoder.variables, 4)

    assert found["ordering"] == [[1, 3, 0, 2]]
    assert several == "random"
    natural = fit(table.select(["kind", "amount"]))
    assert orderings.automatic(natural.variables, 1) == "natural"


def test_by_default_images_keep_their_order() -> None:
    table = pa.table(
        {"a": pixels(5)[:, 0], "image": pa.array(pixels(5).tolist(), FIXED)}
    )
    encoder = fit(table, images={"image": {"height": 3, "width": 4}})
    found = orderings.resolve({"ordering": "auto"}, encoder, "")
    assert found == {"ordering": "natural"}
