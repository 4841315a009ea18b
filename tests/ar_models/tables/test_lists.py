import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.families.made import MADE
from ar_models.families.rnn import RNN
from ar_models.scoring import explanation
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE, Column
from ar_models.tables.encoder import Image
from ar_models.tables.list_cells import lists
from ar_models.tables.list_column import ListColumn
from tasks.data.hashing import cell_hashes
from tasks.training import orderings
from tests.support.densities import score_table
from tests.support.sketching import fit

N = 300


def pixels(high: int, seed: int = 0, rows: int = N) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, (rows, 12)).astype(np.uint8)


def words(seed: int = 0, rows: int = N) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcé"), rng.integers(1, 7))) for _ in range(rows)]


FIXED = pa.list_(pa.uint8(), 12)
DEEP = pa.list_(pa.list_(pa.uint8(), 4), 3)
STEP = pa.struct([("note", pa.int8()), ("loud", pa.float64())])


def frames(rows: int = N) -> pa.Array:
    rng = np.random.default_rng(0)
    return pa.array(
        [
            [
                {"note": int(note), "loud": None if note == 1 else float(loud)}
                for note, loud in zip(
                    rng.integers(0, 5, length), rng.normal(size=length), strict=True
                )
            ]
            for length in rng.integers(0, 5, rows)
        ],
        pa.list_(STEP),
    )


ARRAYS = {
    "fixed": pa.array(pixels(2).tolist(), FIXED),
    "list": pa.array(pixels(200).tolist(), pa.list_(pa.uint8())),
    "large": pa.array(pixels(7).tolist(), pa.large_list(pa.int32())),
    "deep": pa.array(pixels(3).reshape(N, 3, 4).tolist(), DEEP),
    "reals": pa.array(np.random.default_rng(0).normal(size=(N, 3)).tolist()),
    "varying": pa.array(
        [row[: 1 + i % 12].tolist() for i, row in enumerate(pixels(9))]
    ),
    "nulls": pa.array(
        [None if i % 9 == 0 else r.tolist() for i, r in enumerate(pixels(9))]
    ),
    "fixed nulls": pa.array(
        [None if i % 9 == 0 else r.tolist() for i, r in enumerate(pixels(9))], FIXED
    ),
    "text": pa.array(words()),
    "frames": frames(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_lists_come_back(name: str) -> None:
    array = ARRAYS[name]
    kinds = {"x": {"kind": "sequence"}} if name == "text" else {}
    encoder = fit(pa.table({"x": array}), columns=kinds)

    encoded = encoder.encode(pa.table({"x": array}))
    back = encoder.decode(encoded.x).column("x").combine_chunks()

    assert back.type == array.type
    assert not encoded.out_of_support.any()
    if name in ("reals", "frames"):
        one, other = reals(back.to_pylist()), reals(array.to_pylist())
        assert one == pytest.approx(other, abs=1e-4, nan_ok=True)
    else:
        assert back.equals(array)


def reals(values: list[object]) -> list[float]:
    """Return all numbers in nested lists and structs; nulls become NaN."""
    found: list[float] = []
    for value in values:
        if isinstance(value, dict):
            found += reals(list(value.values()))
        elif isinstance(value, list):
            found += [len(value), *reals(value)]
        else:
            found.append(float("nan") if value is None else float(str(value)))
    return found


def test_the_length_stands_first_and_places_beyond_it_are_absent() -> None:
    array = pa.array(words(), pa.string())
    encoder = fit(pa.table({"x": array}), columns={"x": {"kind": "sequence"}})

    x = encoder.encode(pa.table({"x": ["ab", "c"]})).x

    assert encoder.variables[0].name == "x.length"
    assert x[:, 0].tolist() == [2, 1]
    assert (~np.isnan(x[:, 1:])).sum(axis=1).tolist() == [2, 1]


def test_what_no_list_of_training_looks_like_is_out_of_support() -> None:
    array = pa.array(pixels(3).tolist(), pa.list_(pa.uint8()))
    encoder = fit(pa.table({"x": array}))
    given = pa.array([[0] * 12, [0] * 11, None, [9] * 12, [None] * 12], array.type)

    out_of_support = encoder.encode(pa.table({"x": given})).out_of_support[:, 0]

    assert out_of_support[:3].tolist() == [IN_SUPPORT, OUT_OF_RANGE, MISSING]
    assert bool((out_of_support[3:] != IN_SUPPORT).all())


def test_a_density_over_lists_adds_up_to_one() -> None:
    texts = ["a", "b", "aa", "ab", "bb", None] * 20
    array = pa.array(texts, pa.string())
    encoder = fit(pa.table({"x": array}), columns={"x": {"kind": "sequence"}})
    torch.manual_seed(0)
    density = TableDensity(encoder, MADE(encoder.variables, MADE.Settings(hidden=16)))
    every = [None, *"ab", *(a + b for a in "ab" for b in "ab")]

    total = np.exp(density.log_prob(pa.table({"x": pa.array(every, pa.string())})))

    # What never occurred has one part in a row count, which lies outside these.
    assert float(total.sum()) == pytest.approx(1 - 1 / (len(texts) + 2), abs=1e-5)


@pytest.mark.parametrize("kind", ["binary", "softmax", "mixture"])
@pytest.mark.parametrize("apart", [True, False])
def test_pixels_are_alike_whether_in_a_list_or_in_columns(
    kind: str, apart: bool
) -> None:
    x = pixels(2 if kind == "binary" else 50)
    x[:, 0] = 0  # as the rims of images are
    if apart:
        table = pa.table({f"p{i:02d}": x[:, i] for i in range(12)})
    else:
        table = pa.table({"p": pa.array(x.tolist(), FIXED)})
    image = {"height": 3, "width": 4, "pixels": kind}

    encoder = fit(table, images={"p*": image})

    assert len({(v.kind, v.size, v.atoms) for v in encoder.variables}) == 1
    assert [v.group for v in encoder.variables] == list(range(12))
    assert encoder.decode(encoder.encode(table).x).equals(table)
    sizes = {"binary": 2, "softmax": 256, "mixture": 0}
    assert encoder.variables[0].size == sizes[kind]
    columns = len({v.column_index for v in encoder.variables})
    assert columns == len(encoder.columns) == (12 if apart else 1)


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


def test_a_column_of_an_image_is_scored_as_one() -> None:
    x = pixels(3)
    table = pa.table({"p": pa.array(x.tolist(), FIXED), "q": pa.array(x[:, 0])})
    encoder = fit(table, images={"p": {"height": 3, "width": 4}})
    torch.manual_seed(0)
    model = MADE(
        encoder.variables, MADE.Settings(hidden=16, orderings=2, ordering="random")
    )
    density = TableDensity(encoder, model)

    scored = score_table(density, table.slice(0, 20), column_log_prob=True)

    parts = scored.column("column_log_prob").combine_chunks().flatten()
    total = sum(part.to_numpy() for part in parts)
    np.testing.assert_allclose(total, scored["log_prob"].to_numpy(), atol=1e-4)
    named = [e["column"] for row in scored["explanation"].to_pylist() for e in row]
    assert set(named) == {"p", "q"}
    said = {e["expected"] for r in scored["explanation"].to_pylist() for e in r}
    assert any(text.startswith("row ") for text in said)


def test_places_of_sequences_add_up_to_the_column() -> None:
    table = pa.table({"x": pa.array(words()), "y": pa.array(pixels(3)[:, 0])})
    encoder = fit(table, columns={"x": {"kind": "sequence"}})
    torch.manual_seed(0)
    model = RNN(encoder.variables, RNN.Settings(hidden=16, steps="places"))
    density = TableDensity(encoder, model)

    scored = score_table(density, table.slice(0, 50), column_log_prob=True)

    column = scored["column_log_prob"].combine_chunks().field("x").to_numpy()
    places = scored["place_log_prob"].combine_chunks().field("x").to_pylist()
    assert [len(p) for p in places] == [len(w) for w in words()[:50]]
    rest = column - np.array([sum(p) for p in places])
    lengths = np.array([len(w) for w in words()[:50]])
    # What is left is the length's, the same for equal lengths and values of y.
    groups = list(zip(lengths.tolist(), table["y"].to_pylist()[:50], strict=True))
    for group in set(groups):
        same = [r for r, g in zip(rest, groups, strict=True) if g == group]
        np.testing.assert_allclose(same, same[0], atol=1e-4)


def test_a_text_is_told_in_one_line() -> None:
    assert explanation.text("To be,\nor not\r\n") == "To be,↵or not"
    assert explanation.text("") == ""


def test_equal_lists_have_equal_hashes_and_others_do_not() -> None:
    rows = [[1, 2], [2, 1], [1, 2, 0], [1, 2], [], None]
    narrow = lists(pa.array(rows, pa.list_(pa.int8())))
    wide = lists(pa.array(rows, pa.large_list(pa.int64())))

    one, other = cell_hashes(narrow), cell_hashes(wide)

    assert one.tolist() == other.tolist()
    assert one[0] == one[3]
    assert len(set(one.tolist())) == 5


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"q": {"height": 3, "width": 4}}, "no modelled column matches 'q'"),
        ({"p": {"height": 5, "width": 4}}, "no images of 5 x 4 x 1 = 20"),
        (
            {"p": {"height": 3, "width": 4, "pixels": "binary"}},
            "binary does not fit 50 values",
        ),
    ],
)
def test_images_that_cannot_be_are_refused(images: object, said: str) -> None:
    table = pa.table({"p": pa.array(pixels(50).tolist(), pa.list_(pa.uint8()))})
    with pytest.raises(ValueError, match=said):
        fit(table, images=images)


def test_a_block_of_columns_must_be_as_large_as_the_image() -> None:
    table = pa.table({f"p{i:02d}": pixels(5)[:, i] for i in range(12)})
    with pytest.raises(ValueError, match="12 columns match"):
        fit(table, images={"p*": {"height": 3, "width": 3}})


def test_one_list_column_is_all() -> None:
    column: Column = fit(pa.table({"x": ARRAYS["varying"]})).columns[0]
    assert isinstance(column, ListColumn)
    assert (column.shortest, column.places, column.varies) == (1, 12, True)
