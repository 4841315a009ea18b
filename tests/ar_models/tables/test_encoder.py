import datetime
import json
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from ar_models.families.made import MADE
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE, UNSEEN, Column
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.left_out import constant
from ar_models.tables.normal_scores import NormalScores
from tasks.config.data import DataConfig
from tasks.data.cells import representation_of, to_cells
from tasks.data.columns.infer import infer_column
from tasks.data.counts import ApproximateCounts
from tasks.data.sketches import NumberSketch, merge, sketch_column

N = 600


def fit(table: pa.Table, **settings: object) -> TableEncoder:
    """Fit an encoder to all rows of a table, with every column."""
    data = DataConfig.model_validate({"path": "", **settings})
    columns: list[Column] = []
    for field in table.schema:
        override = data.columns.get(field.name)
        base = representation_of(field.type, override.kind if override else None)
        cells = to_cells(table.column(field.name), field.type, base)
        part = sketch_column(cells, field.type, 65536)
        column = infer_column(field.name, field.type, part, data)
        assert isinstance(column, Column), column
        columns.append(column)
    return TableEncoder(tuple(columns), (), table.schema)


def with_nulls(array: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Set about a tenth of the entries to null."""
    return array.take(
        pa.array(np.arange(len(array)), mask=rng.random(len(array)) < 0.1)
    )


def discrete_arrays(seed: int) -> dict[str, pa.Array]:
    """Return an array of every discrete type, with `N` random entries."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, pa.Array] = {}
    for type in (pa.int8(), pa.int16(), pa.int32(), pa.int64()):
        low = np.iinfo(type.to_pandas_dtype()).min
        arrays[str(type)] = pa.array(rng.integers(max(low, -300), 120, N)).cast(type)
        arrays[f"whole {type}"] = pa.array(
            rng.integers(low, -(low + 1), N, np.int64, endpoint=True)
        ).cast(type)
    for type in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        high = np.iinfo(type.to_pandas_dtype()).max
        arrays[str(type)] = pa.array(rng.integers(0, 200, N)).cast(type)
        arrays[f"whole {type}"] = pa.array(
            rng.integers(0, high, N, np.uint64, endpoint=True)
        ).cast(type)
    arrays["far from zero"] = pa.array(3 * 10**12 + rng.integers(0, 1000, N))
    seconds = rng.integers(-(10**9), 2 * 10**9, N)
    for power, unit in enumerate(("s", "ms", "us", "ns")):
        ticks = seconds * 1000**power + rng.integers(0, 1000**power, N)
        for zone in (None, "Europe/Berlin"):
            arrays[f"timestamp {unit} {zone}"] = pa.array(
                ticks, pa.timestamp(unit, zone)
            )
        arrays[f"duration {unit}"] = pa.array(ticks, pa.duration(unit))
    arrays["hours"] = pa.array(seconds // 3600 * 3600, pa.timestamp("s"))
    arrays["midnights"] = pa.array(seconds // 86400 * 86400, pa.timestamp("s"))
    days = (seconds // 86400).astype(np.int32)
    arrays["date32"] = pa.array(days, pa.date32())
    arrays["date64"] = arrays["date32"].cast(pa.date64())
    clock = seconds % 86400
    arrays["time32 s"] = pa.array(clock.astype(np.int32), pa.time32("s"))
    arrays["time32 ms"] = pa.array((clock * 1000 + 5).astype(np.int32), pa.time32("ms"))
    arrays["time64 us"] = pa.array(clock * 10**6, pa.time64("us"))
    arrays["time64 ns"] = pa.array(clock * 10**9 + 7, pa.time64("ns"))
    arrays["full hours"] = pa.array(clock // 3600 * 3600 * 10**6, pa.time64("us"))
    cents = [Decimal(int(v)).scaleb(-2) for v in rng.integers(-(10**6), 10**6, N)]
    arrays["decimal32"] = pa.array(cents, pa.decimal32(9, 2))
    arrays["decimal64"] = pa.array(cents, pa.decimal64(18, 2))
    arrays["decimal128"] = pa.array(cents, pa.decimal128(38, 2))
    arrays["decimal256"] = pa.array(cents, pa.decimal256(60, 2))
    arrays["bool"] = pa.array(rng.random(N) < 0.3)
    words = rng.choice(["", "a", "b b", "é", "\u4e2d"], N).tolist()
    arrays["string"] = pa.array(words, pa.string())
    arrays["large_string"] = pa.array(words, pa.large_string())
    arrays["dictionary"] = arrays["string"].dictionary_encode()
    arrays["small dictionary"] = pa.DictionaryArray.from_arrays(
        pa.array(rng.integers(0, 3, N), pa.int8()), ["x", "y", "z"], ordered=True
    )
    arrays["dictionary of integers"] = pa.array(
        rng.integers(0, 5, N)
    ).dictionary_encode()
    bytes_ = [bytes([v, 255]) for v in rng.integers(0, 5, N).tolist()]
    arrays["binary"] = pa.array(bytes_, pa.binary())
    arrays["fixed binary"] = pa.array(bytes_, pa.binary(2))
    arrays["whole floats"] = pa.array(rng.integers(-50, 50, N).astype(np.float32))
    few = rng.choice([0.1, 0.25, math.pi], N)
    arrays["few reals"] = pa.array(few)
    return arrays


DISCRETE = sorted(discrete_arrays(0))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_columns_come_back_exactly(name: str, seed: int) -> None:
    array = discrete_arrays(seed)[name]
    nullable = with_nulls(array, np.random.default_rng(seed))
    table = pa.table({"full": array, "nullable": nullable})
    encoder = fit(table)
    encoded = encoder.encode(table)
    decoded = encoder.decode(encoded.x)
    assert decoded.schema.types == table.schema.types
    assert decoded.to_pydict() == table.to_pydict()
    assert not encoded.out_of_support.any()
    present = ~np.isnan(encoded.x)
    wide = encoded.x[present]
    assert (wide == np.rint(wide)).all() and (np.abs(wide) <= 2**23).all()
    assert (encoded.log_abs_det == np.log1p(-1 / (N + 2))).all()


@pytest.mark.parametrize("seed", range(5))
def test_tables_of_random_columns_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = discrete_arrays(seed)
    chosen = rng.choice(DISCRETE, 8, replace=False).tolist()
    table = pa.table({n: with_nulls(arrays[n], rng) for n in chosen})
    shuffled = table.select(rng.permutation(chosen).tolist())
    chunked = pa.concat_tables([shuffled.slice(0, 100), shuffled.slice(100)])
    encoder = fit(table)
    again = encoder.decode(encoder.encode(chunked).x)
    assert again.column_names == chosen
    assert again.to_pydict() == table.to_pydict()


@pytest.mark.parametrize("type", [pa.float16(), pa.float32(), pa.float64()])
def test_reals_come_back_within_the_stated_error(type: pa.DataType) -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 2, 3000).astype(np.dtype(type.to_pandas_dtype()))
    values[:1200] = 0  # an amount that is often exactly 0
    values[1200:1250] = np.inf
    values[1250:1300] = -np.inf
    values[1300:1350] = np.nan
    mask = np.arange(3000) % 17 == 0
    table = pa.table({"a": pa.array(values, type, mask=mask)})
    encoder = fit(table)
    encoded = encoder.encode(table)
    decoded = encoder.decode(encoded.x)
    assert encoder.columns[0].kind == "real"
    assert decoded.schema.equals(table.schema)
    given, back = (t.column("a").combine_chunks() for t in (table, decoded))
    assert given.is_null().equals(back.is_null())
    before, after = (a.drop_null().to_numpy().astype(float) for a in (given, back))
    np.testing.assert_array_equal(np.isnan(before), np.isnan(after))
    regular = np.isfinite(before) & (before != 0)
    np.testing.assert_array_equal(
        np.nan_to_num(before[~regular]), np.nan_to_num(after[~regular])
    )
    slope = np.exp(-encoded.log_abs_det[~mask, 0][regular])
    z = encoded.x[~mask, encoder.value_variable(0)][regular]
    stated = 2.0**-22 * np.maximum(1, np.abs(z)) * slope
    rounding = np.abs(before[regular]) * np.finfo(type.to_pandas_dtype()).eps
    assert (np.abs(before[regular] - after[regular]) <= stated + rounding).all()


def test_log_volume_is_the_log_derivative_of_the_score() -> None:
    values = np.random.default_rng(1).standard_t(2, 2000)
    encoder = fit(pa.table({"a": values}))
    points = np.array([-1e6, -50.0, -1.0, 0.0123, 0.5, 7.0, 1e5])
    step = 1e-6 * np.maximum(1.0, np.abs(points))
    transform = encoder.columns[0].transform
    rise = transform.forward(points + step)[0] - transform.forward(points - step)[0]
    given = encoder.encode(pa.table({"a": points})).log_abs_det[:, 0]
    expected = np.log(rise / (2 * step)) + np.log1p(-1 / 2002)
    np.testing.assert_allclose(given, expected, atol=1e-3)


def test_rescaling_a_real_column_changes_its_log_volume_alone() -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random(2000) < 0.3, 0.0, rng.gamma(0.7, 3, 2000))
    before, after = pa.table({"a": values}), pa.table({"a": values * 1024.0})
    one, other = fit(before).encode(before), fit(after).encode(after)
    np.testing.assert_array_equal(one.x, other.x)
    regular = values != 0
    difference = other.log_abs_det[regular, 0] - one.log_abs_det[regular, 0]
    np.testing.assert_allclose(difference, -math.log(1024), atol=1e-9)
    np.testing.assert_array_equal(
        one.log_abs_det[~regular], other.log_abs_det[~regular]
    )


def test_scores_of_a_real_column_are_nearly_normal() -> None:
    values = np.random.default_rng(3).lognormal(0, 3, 20_000)
    encoder = fit(pa.table({"a": values}))
    z = encoder.encode(pa.table({"a": values})).x[:, 0]
    quantiles = np.quantile(z, [0.002, 0.05, 0.5, 0.95, 0.998])
    expected = [-2.878, -1.645, 0.0, 1.645, 2.878]
    np.testing.assert_allclose(quantiles, expected, atol=0.05)
    assert np.abs(z).max() < 8


def test_every_finite_real_has_a_finite_score_or_is_out_of_support() -> None:
    encoder = fit(pa.table({"a": np.random.default_rng(4).normal(size=500) * 1e-300}))
    points = np.array([-1.7e308, -1.0, 0.0, 5e-324, 1e-290, 1.7e308])
    encoded = encoder.encode(pa.table({"a": points}))
    present = encoded.out_of_support[:, 0] == IN_SUPPORT
    assert np.isfinite(encoded.x[present]).all()
    assert np.isnan(encoded.x[~present]).all()
    assert np.isfinite(encoded.log_abs_det).all()


def test_the_transform_is_its_own_inverse_between_and_beyond_the_knots() -> None:
    transform = NormalScores((-2.0, 0.0, 1.0, 10.0), (-2.0, -0.5, 0.5, 2.5))
    x = np.array([-1e9, -2.0, -1.9, 0.3, 10.0, 11.0, 1e12])
    z, _ = transform.forward(x)
    np.testing.assert_allclose(transform.inverse(z), x, rtol=1e-9)
    assert (np.diff(z) > 0).all()
    assert np.isnan(transform.inverse(np.array([np.nan]))).all()


def test_probabilities_in_and_out_of_support_of_discrete_columns_sum_to_one() -> None:
    rng = np.random.default_rng(5)
    table = pa.table(
        {
            "flag": with_nulls(pa.array(rng.random(N) < 0.3), rng),
            "small": with_nulls(pa.array(rng.integers(-5, 99, N), pa.int8()), rng),
        }
    )
    encoder = fit(table)
    torch.manual_seed(0)
    model = MADE(encoder.variables, MADE.Settings(hidden=8)).eval()
    flags = pa.array([True, False, None] * 257)
    smalls = pa.array(
        [v for v in [*range(-128, 128), None] for _ in range(3)], pa.int8()
    )
    encoded = encoder.encode(pa.table({"flag": flags, "small": smalls}))
    assert not encoded.out_of_support.any()
    with torch.no_grad():
        log_prob = model.log_prob(torch.from_numpy(encoded.x)).double().numpy()
    total = np.exp(log_prob + encoded.log_abs_det.sum(axis=1)).sum()
    mass = encoder.columns[0].out_of_support_mass
    # Each column has three reasons to be out of support, of mass / 3 each.
    out_of_support = encoder.encode(pa.table({"flag": ["?"] * 0, "small": [0] * 0}))
    assert out_of_support.x.shape == (0, 3)
    assert total == pytest.approx((1 - mass) ** 2, abs=1e-5)


CELLS_OUT_OF_SUPPORT: list[tuple[pa.Array, pa.Array, int]] = [
    (pa.array([1, 2, 3, 4]), pa.array([None], pa.int64()), MISSING),
    (pa.array([1, 2, 3, 4]), pa.array([-1]), OUT_OF_RANGE),
    (pa.array([1, 2, 3, 4]), pa.array([2**40]), OUT_OF_RANGE),
    (pa.array([1, 2, 3, 4]), pa.array([1.5]), OUT_OF_RANGE),
    (pa.array([1.0, 2, 3, 4]), pa.array([math.nan]), MISSING),
    (pa.array([1.0, 2, 3, 4]), pa.array([math.inf]), UNSEEN),
    (pa.array([1.5, 2, 3, 4]), pa.array([None], pa.float64()), MISSING),
    (pa.array([1.5, 2, 3, 4]), pa.array([-math.inf]), UNSEEN),
    (pa.array(["a", "b", "c", "c"] * 2), pa.array(["d"]), UNSEEN),
    (pa.array(["a", "b", "a", "b"]), pa.array([None], pa.string()), MISSING),
    (pa.array([0, 1, 0, 1]), pa.array([2]), UNSEEN),
    (
        pa.array([0, 3600, 7200], pa.timestamp("s")),
        pa.array([60], pa.timestamp("s")),
        OUT_OF_RANGE,
    ),
]


@pytest.mark.parametrize("trained, given, reason", CELLS_OUT_OF_SUPPORT)
def test_what_never_occurred_is_out_of_support(
    trained: pa.Array, given: pa.Array, reason: int
) -> None:
    encoder = fit(pa.table({"a": trained, "b": pa.array([1, 2] * 9)[: len(trained)]}))
    table = pa.table({"a": given, "b": [1]})
    encoded = encoder.encode(table)
    assert encoder.out_of_support(table).tolist() == [[reason, IN_SUPPORT]]
    assert np.isnan(encoded.x[0, encoder.span(0)]).all()
    mass = 1 / (len(trained) + 2)
    assert encoded.log_abs_det[0].tolist() == pytest.approx(
        [math.log(mass / 3), math.log1p(-mass)]
    )


def test_null_and_nan_are_told_apart() -> None:
    values = pa.array([1.5, None, math.nan, 2.5] * 30)
    for column in (values, pa.array([1.0, None, math.nan, 9.0, 3.0] * 30)):
        table = pa.table({"a": column})
        encoder = fit(table)
        again = encoder.decode(encoder.encode(table).x).column("a").combine_chunks()
        assert again.is_null().equals(column.is_null())
        assert again.fill_null(0.0).is_nan().equals(column.fill_null(0.0).is_nan())


def test_rare_categories_share_a_code_that_new_ones_take() -> None:
    words = ["a"] * 50 + ["b"] * 30 + ["r1", "r1", "r2", "r3"]
    encoder = fit(pa.table({"a": words}), min_category_count=3)
    assert encoder.labels(0) == ["a", "b", "rare"]
    encoded = encoder.encode(pa.table({"a": ["b", "r2", "new"]}))
    assert encoded.x[:, 0].tolist() == [1, 2, 2]
    assert not encoded.out_of_support.any()
    x = np.full((4000, 1), 2, np.float32)
    drawn = encoder.decode(x, seed=7).column("a")
    assert drawn.equals(encoder.decode(x, seed=7).column("a"))
    assert not drawn.equals(encoder.decode(x, seed=8).column("a"))
    counts = {v["values"].as_py(): v["counts"].as_py() for v in drawn.value_counts()}
    assert set(counts) == {"r1", "r2", "r3"}
    # r1 has half of the rare rows; 2000 are off by 200 with odds below 1e-9.
    assert abs(counts["r1"] - 2000) < 200


def test_constants_are_filled_in() -> None:
    moment = pa.array([5], pa.timestamp("us", "UTC"))
    nothing = pa.array([None], pa.string())
    table = pa.table({"c": moment, "a": [1], "n": nothing})
    left_out = (constant("c", moment, "constant"), constant("n", nothing, "all null"))
    column = fit(pa.table({"a": [1, 2, 3]})).columns[0]
    encoder = TableEncoder((column,), left_out, table.schema)
    assert encoder.decode(encoder.encode(table).x).equals(table)


def test_an_encoder_survives_its_own_json() -> None:
    rng = np.random.default_rng(6)
    table = pa.table({n: with_nulls(a, rng) for n, a in discrete_arrays(3).items()})
    reals = np.where(rng.random(N) < 0.2, np.inf, rng.normal(size=N))
    table = table.append_column("real", pa.array(reals))
    encoder = fit(table)
    text = json.dumps(encoder.to_dict(), allow_nan=False)
    again = TableEncoder.from_dict(json.loads(text))
    assert again.fingerprint == encoder.fingerprint
    assert again.columns == encoder.columns
    assert again.schema == encoder.schema
    np.testing.assert_array_equal(again.encode(table).x, encoder.encode(table).x)


COMPATIBLE: list[tuple[pa.Array, pa.Array]] = [
    (pa.array([1, 2, 7], pa.int32()), pa.array([1, 2, 7], pa.int64())),
    (pa.array([1, 2, 7], pa.int32()), pa.array([1, 2, 7], pa.uint8())),
    (pa.array([1, 2, 7], pa.uint64()), pa.array([1.0, 2, 7])),
    (pa.array([1, 2, 7]), pa.array([1.0, 2, 7])),
    (pa.array([1.0, 2, 7]), pa.array([1, 2, 7])),
    (pa.array([1.5, 2, 7]), pa.array([1.5, 2, 7], pa.float32())),
    (pa.array(["a", "b"]), pa.array(["a", "b"]).dictionary_encode()),
    (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"])),
    (pa.array(["a", "b"]), pa.array(["a", "b"], pa.large_string())),
    (pa.array(["a", "b"]), pa.array(["a", "b"], pa.string_view())),
    (pa.array([True, False]), pa.array([1, 0])),
    (
        pa.array([10, 90_000, 7], pa.timestamp("s")),
        pa.array([10_000, 90_000_000, 7000], pa.timestamp("ms", "Asia/Tokyo")),
    ),
    (
        pa.array([10_000, 90_000_000], pa.timestamp("ns")),
        pa.array([10, 90_000], pa.timestamp("us")),
    ),
    (
        pa.array([1, 2, 9], pa.date32()),
        pa.array([86400, 2 * 86400, 9 * 86400], pa.timestamp("s")),
    ),
    (
        pa.array([Decimal("1.25"), Decimal("3.50")], pa.decimal128(9, 2)),
        pa.array([Decimal("1.2500"), Decimal("3.5000")], pa.decimal128(12, 4)),
    ),
    (
        pa.array([Decimal("1.25"), Decimal("3.50")], pa.decimal128(9, 2)),
        pa.array([1.25, 3.5]),
    ),
]


@pytest.mark.parametrize("trained, given", COMPATIBLE)
def test_other_types_of_the_same_values_are_read(
    trained: pa.Array, given: pa.Array
) -> None:
    encoder = fit(pa.table({"a": trained}), min_category_count=1)
    expected = encoder.encode(pa.table({"a": trained}))
    encoded = encoder.encode(pa.table({"other": given, "a": given}))
    np.testing.assert_array_equal(encoded.x, expected.x)
    assert not encoded.out_of_support.any()


def test_a_null_among_integers_may_come_as_nan() -> None:
    encoder = fit(pa.table({"a": [1, 2, None, 9]}))
    encoded = encoder.encode(pa.table({"a": [1.0, math.nan, 9.0]}))
    assert encoder.decode(encoded.x).column("a").to_pylist() == [1, None, 9]


@pytest.mark.parametrize(
    "given, message",
    [
        (pa.table({"b": [1]}), r"column 'a' is missing \(trained as int64\)"),
        (pa.table({"a": ["x"]}), "column 'a' is string, which cannot be read as int64"),
        (
            pa.table({"a": [[1]]}),
            "column 'a' is list<.*> which cannot be read as int64",
        ),
        (
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
            "column 'a' occurs more than once",
        ),
    ],
)
def test_a_table_that_cannot_be_encoded_says_why(given: pa.Table, message: str) -> None:
    encoder = fit(pa.table({"a": [1, 2, 3]}))
    with pytest.raises(ValueError, match=message.replace("> which", ">, which")):
        encoder.encode(given)


def test_codes_and_quantiles_can_be_read_by_people() -> None:
    table = pa.table(
        {
            "word": ["x", "y", "x", None] * 5,
            "day": pa.array([0, 10, 20, None] * 5, pa.date32()),
            "when": pa.array([0, 86_400, 90_061, 5] * 5, pa.timestamp("s", "UTC")),
            "amount": [0.0, 0.0, 1.5, 2.25] * 5,
        }
    )
    encoder = fit(table, columns={"amount": {"kind": "real"}})
    assert encoder.labels(0) == ["x", "y", "missing"]
    assert encoder.labels(1) == ["regular", "missing"]
    assert encoder.variables[encoder.value_variable(1)].name == "day"
    assert encoder.column_of(encoder.value_variable(2)).name == "when"
    assert encoder.decode_column(0, np.array([1])).to_pylist() == ["y"]
    days = encoder.decode_column(1, np.array([10.0, np.nan])).to_pylist()
    assert days == [datetime.date(1970, 1, 11), None]
    moment = encoder.decode_column(2, np.array([1.0])).to_pylist()[0]
    assert moment == datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC)
    assert encoder.labels(3)[:1] == ["regular"]


def test_samples_beyond_the_range_of_a_type_fall_on_its_bound() -> None:
    encoder = fit(pa.table({"a": pa.array([1, 2, 100, 3], pa.int8())}))
    assert encoder.variables[0].upper == 127
    far = np.array([[2.0**22], [5.0]], np.float32)
    assert encoder.decode(far).column("a").to_pylist() == [127, 5]


def test_equal_names_of_variables_are_told_apart() -> None:
    table = pa.table({"a": [1, 2, None, 4], "a.state": [1, 2, 3, 9]})
    names = [v.name for v in fit(table).variables]
    assert len(set(names)) == len(names) == 3


def test_many_distinct_values_keep_their_distribution() -> None:
    rng = np.random.default_rng(8)
    values = np.where(rng.random(40_000) < 0.25, 0, rng.lognormal(9, 1, 40_000))
    whole = pa.array(values.astype(np.int64))
    parts = []
    for begin in range(0, 40_000, 8000):
        cells = to_cells(
            pa.chunked_array([whole.slice(begin, 8000)]), whole.type, "integers"
        )
        parts.append(sketch_column(cells, whole.type, 500))
    merged = parts[0]
    for part in parts[1:]:
        merged = merge(merged, part, 500)
    assert isinstance(merged, NumberSketch)
    assert isinstance(merged.counts, ApproximateCounts)
    assert merged.rows == 40_000
    assert (merged.low, merged.high) == (0, pc.max(whole).as_py())
    found = merged.distribution()
    for share in (0.3, 0.5, 0.9, 0.999):
        rank = (values.astype(np.int64) <= found.quantile(share)).mean()
        assert abs(rank - share) < 0.003
    zeros = int((whole.to_numpy() == 0).sum())
    assert merged.frequent_values(0.01, 4)[0] == zeros
    exact = len(set(whole.to_pylist()))
    assert abs(merged.distinct - exact) < 0.1 * exact


def test_only_values_that_stand_out_are_atoms() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=4000).round(1)
    zeros = np.where(rng.random(4000) < 0.2, 0.05, coarse)
    spread = np.where(rng.random(4000) < 0.02, 1.0, rng.normal(size=4000))
    table = pa.table({"coarse": coarse, "zeros": zeros, "spread": spread})
    columns = fit(table, columns={n: {"kind": "real"} for n in table.column_names})
    atoms = [column.to_dict()["atoms"] for column in columns.columns]
    assert atoms == [(), (0.05,), (1.0,)]
