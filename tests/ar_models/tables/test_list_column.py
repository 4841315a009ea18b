import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.table_density import TableDensity
from ar_models.families.made import MADE
from ar_models.families.rnn import RNN
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE
from tests.support.densities import score_table
from tests.support.lists import FIXED, pixels, words
from tests.support.sketching import fit


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
