import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from ar_models.density.random_streams import stream_seed
from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import TableDensity
from ar_models.scoring.conformal import Ranking, Rule, flag_anomalies
from ar_models.scoring.statistics import statistics_of
from tests.support.densities import sample_table, score_table, table_density
from tests.support.tables import table_encoder


@pytest.fixture(scope="module")
def density() -> TableDensity:
    return table_density()


@pytest.fixture(scope="module")
def rows(density: TableDensity) -> pa.Table:
    return sample_table(density, 3000, seed=2)


def odd_row(**cells: object) -> pa.Table:
    """Return one row, ordinary but for `cells`."""
    usual = {
        "carrier": "UA",
        "delay": 5,
        "time": datetime(2013, 1, 1, 12),
        "amount": 5.0,
    }
    schema = table_encoder().schema
    fields = [schema.field(name) for name in usual]
    return pa.Table.from_pylist([usual | cells], schema=pa.schema(fields))


def test_samples_have_the_original_columns_and_types(rows: pa.Table) -> None:
    assert rows.schema.equals(table_encoder().schema)
    assert set(rows["year"].to_pylist()) == {2013}
    assert rows["delay"].null_count > 0


def test_a_rows_log_prob_adds_up_over_its_columns(
    density: TableDensity, rows: pa.Table
) -> None:
    scored = score_table(density, rows, explain="none", column_log_prob=True)
    each = np.array(
        [list(row.values()) for row in scored["column_log_prob"].to_pylist()]
    )
    np.testing.assert_allclose(each.sum(axis=1), scored["log_prob"], atol=1e-9)
    np.testing.assert_allclose(each, density.column_log_prob(rows), atol=1e-5)


def test_log_prob_is_that_of_the_network_in_units_of_the_columns(
    density: TableDensity,
) -> None:
    row = odd_row(amount=10.0)
    encoded = density.encoder.encode(row)
    with torch.inference_mode():
        network = density.model.variable_log_prob(torch.from_numpy(encoded.x))
    # Between the knots 5 and 20 the score rises by 1 in 15 units.
    expected = float(network.sum()) + 4 * math.log(1 - 1 / 1002) - math.log(15)
    assert density.log_prob(row)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("orderings", [1, 3])
def test_the_expected_excess_of_the_models_own_samples_is_zero(orderings: int) -> None:
    density = table_density(orderings=1)
    if orderings > 1:
        density = table_density(orderings=orderings, ordering="random")
    excess = density.reference_scores(sample_table(density, 20_000, seed=3))["excess"]
    # Five standard errors: fails by chance once in a million seeds.
    assert abs(excess.mean()) < 5 * excess.std() / math.sqrt(len(excess)) + 0.02


def test_surprisal_is_minus_log_prob(density: TableDensity, rows: pa.Table) -> None:
    scored = score_table(density, rows, statistic="surprisal", explain="none")
    np.testing.assert_array_equal(
        scored["anomaly_score"], -scored["log_prob"].to_numpy()
    )


def test_p_values_of_fresh_rows_are_uniform(
    density: TableDensity, rows: pa.Table
) -> None:
    p = np.sort(score_table(density, rows, explain="none")["p_value"].to_numpy())
    distance = np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max()
    # Kolmogorov-Smirnov, 3000 against 2000 rows: beyond 0.065 once in 20,000 seeds.
    assert distance < 0.065


def test_p_value_and_severity_count_the_calibration_rows() -> None:
    reference = Ranking.of(np.array([2.0, 5.0, 1.0, 2.0]))
    scores = np.array([0.0, 2.0, 5.0, 6.0])
    p_value, severity = reference.rank(scores)
    assert p_value.tolist() == [1.0, 0.8, 0.4, 0.2]
    assert severity.tolist() == [0.0, 25.0, 75.0, 100.0]
    flagged = flag_anomalies(Rule.of(threshold=75), scores, {"severity": severity})
    assert flagged is not None and flagged.tolist() == [False, False, True, True]


def test_p_values_of_fresh_rows_are_uniform_within_segments(
    density: TableDensity,
) -> None:
    rows = sample_table(density, 6000, seed=6)
    scored = score_table(
        density, rows, calibrate_by="carrier", min_segment_rows=300, explain="none"
    )
    carriers = np.array(rows["carrier"].to_pylist())
    segments = density.segments("carrier", 300)
    assert sum(entry.own for entry in segments) >= 2
    for entry in segments:
        p = scored["p_value"].to_numpy()[carriers == entry.value]
        count = entry.calibration_rows
        if entry.own:
            p = np.sort(p)
            distance = np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max()
            # Kolmogorov and Smirnov's for two samples: once in 10,000 seeds each.
            assert distance < 2.23 * np.sqrt(1 / len(p) + 1 / count)


def test_a_p_value_depends_on_the_row_alone(
    density: TableDensity, rows: pa.Table
) -> None:
    whole = score_table(density, rows, explain="none")["p_value"].to_numpy()
    single = [
        score_table(density, rows.slice(k, 1), explain="none")["p_value"][0].as_py()
        for k in range(0, 3000, 300)
    ]
    assert single == whole[::300].tolist()
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = score_table(density, rows.take(pa.array(order)), fdr=0.5, explain="none")
    np.testing.assert_array_equal(shuffled["p_value"], whole[order])


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"fdr": 0.1, "budget": 3}, "only one of threshold, fdr and budget"),
        ({"threshold": 100}, "threshold must lie between 0 and 100"),
        ({"fdr": 1.0}, "fdr must lie between 0 and 1"),
        ({"budget": 1.5}, "a share below 1 or a whole number of rows, got 1.5"),
    ],
)
def test_rules_out_of_range_are_refused(
    density: TableDensity, rule: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        score_table(density, odd_row(), **rule)  # type: ignore[arg-type]


def test_equal_rows_rank_alike_in_spite_of_rounding() -> None:
    reference = Ranking.of(np.array([2.0, 2.0 + 2e-6, 2.0 - 2e-6]))
    p_value, _ = reference.rank(np.array([2.0, 2.0 + 1e-6, 2.0 - 1e-6]))
    assert p_value.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("statistic", statistics_of(table_density().model))
def test_contributions_add_up_to_the_anomaly_score(
    density: TableDensity, rows: pa.Table, statistic: str
) -> None:
    scored = score_table(density, rows, statistic=statistic, explain_columns=9)  # type: ignore[arg-type]
    total = [
        sum(entry["contribution"] for entry in row)
        for row in scored["explanation"].to_pylist()
    ]
    np.testing.assert_allclose(total, scored["anomaly_score"], atol=1e-9)


@pytest.mark.parametrize(
    ("column", "cell", "shown"),
    [
        ("carrier", "ZZ", "ZZ"),
        ("carrier", None, "missing"),
        ("delay", 5000, "5000"),
        ("time", datetime(1970, 1, 1), "1970-01-01 00:00:00"),
        ("time", None, "missing"),
        ("amount", math.inf, "inf"),
        ("amount", 1e30, "1e+30"),
    ],
)
def test_the_odd_cell_is_blamed_first(
    density: TableDensity, column: str, cell: object, shown: str
) -> None:
    (scored,) = score_table(density, odd_row(**{column: cell})).to_pylist()
    blamed = scored["explanation"][0]
    assert (blamed["column"], blamed["value"]) == (column, shown)
    assert scored["severity"] > 90
    assert math.isfinite(scored["log_prob"])


def test_a_cell_out_of_support_contributes_its_surprisal(density: TableDensity) -> None:
    (scored,) = score_table(
        density, odd_row(carrier="ZZ"), statistic="excess"
    ).to_pylist()
    assert scored["explanation"][0]["contribution"] == pytest.approx(math.log(3 * 1002))


def expectation(density: TableDensity, column: str, **cells: object) -> str:
    (scored,) = score_table(density, odd_row(**cells), explain_columns=4).to_pylist()
    found = {entry["column"]: entry["expected"] for entry in scored["explanation"]}
    return str(found[column])


def test_expected_codes_have_the_models_probabilities(density: TableDensity) -> None:
    x = torch.from_numpy(density.encoder.encode(odd_row()).x)
    with torch.inference_mode():
        shares = density.model.conditionals(x).probabilities(0)[0].tolist()
    named = sorted(zip(shares, ["UA", "AA", "B6"], strict=True), reverse=True)
    words = ", ".join(f"{name} ({100 * share:.0f} %)" for share, name in named)
    assert expectation(density, "carrier") == words


def test_expected_numbers_are_median_and_interval_in_own_units(
    density: TableDensity,
) -> None:
    x = torch.from_numpy(density.encoder.encode(odd_row()).x)
    with torch.inference_mode():
        given = density.model.conditionals(x)
        low, middle, high = (int(given.quantile(q)[0, 2]) for q in (0.05, 0.5, 0.95))
    text = expectation(density, "delay")
    assert text.endswith(f"about {middle}, 90 % in {low} to {high}")


def test_a_missing_number_is_told_from_the_regular_state(density: TableDensity) -> None:
    # What stands after the state of the same column must not show in what is expected.
    assert expectation(density, "delay", delay=None) == expectation(density, "delay")
    assert expectation(density, "amount", amount=0.0) == expectation(density, "amount")


def test_expected_days_are_dates(density: TableDensity) -> None:
    text = expectation(density, "time", time=datetime(1990, 1, 1))
    assert text.startswith("about 20")
    assert "90 % in 20" in text


def test_only_flagged_rows_are_explained_on_demand(
    density: TableDensity, rows: pa.Table
) -> None:
    scored = score_table(density, rows, explain="flagged", threshold=90)
    assert 0 < sum(scored["is_anomaly"].to_pylist()) < len(rows)
    explained = [entry is not None for entry in scored["explanation"].to_pylist()]
    assert explained == scored["is_anomaly"].to_pylist()


def test_without_calibration_rows_nothing_is_ranked(density: TableDensity) -> None:
    bare = TableDensity(density.encoder, density.model)
    (scored,) = score_table(bare, odd_row()).to_pylist()
    assert scored["p_value"] is scored["severity"] is scored["is_anomaly"] is None
    assert scored["anomaly_score"] is not None
    with pytest.raises(ValueError, match="explain 'flagged' needs calibration rows"):
        score_table(bare, odd_row(), explain="flagged")


def test_a_tables_scores_do_not_depend_on_how_it_is_cut(
    density: TableDensity, rows: pa.Table
) -> None:
    whole = score_table(density, rows, explain="none")
    parts = [
        score_table(density, rows.slice(i, 700), explain="none")
        for i in range(0, 3000, 700)
    ]
    cut = pa.concat_tables(parts)
    for name in ("log_prob", "anomaly_score", "p_value"):
        np.testing.assert_allclose(whole[name], cut[name], atol=2e-5)


def test_no_rows_give_no_scores(density: TableDensity, rows: pa.Table) -> None:
    scored = score_table(density, rows.slice(0, 0), column_log_prob=True)
    assert len(scored) == 0
    assert scored.schema.equals(score_table(density, rows, column_log_prob=True).schema)
    assert density.log_prob(rows.slice(0, 0)).shape == (0,)
    assert sample_table(density, 0, seed=0).schema.equals(rows.schema)


def test_seed_and_stream_fix_the_samples(density: TableDensity) -> None:
    first = sample_table(density, 5000, seed=1, stream=7)
    assert first.equals(sample_table(density, 5000, seed=1, stream=7))
    assert first.slice(0, 4500).equals(sample_table(density, 4500, seed=1, stream=7))
    assert not first.equals(sample_table(density, 5000, seed=1, stream=8))
    assert not first.equals(sample_table(density, 5000, seed=2, stream=7))


def test_no_two_streams_of_a_seed_are_the_same() -> None:
    seeds = {stream_seed(0, stream) for stream in range(200_000)}
    assert len(seeds) == 200_000
    assert 0 <= min(seeds) and max(seeds) < 2**32


def test_sampled_log_prob_is_that_of_the_rows(density: TableDensity) -> None:
    drawn = sample_table(density, 500, seed=4, log_prob=True)
    np.testing.assert_allclose(drawn["log_prob"], density.log_prob(drawn), atol=1e-5)


def test_features_have_a_row_each(density: TableDensity, rows: pa.Table) -> None:
    features = density.features(rows)
    assert len(features) == len(rows)
    assert features.std(axis=0).max() > 0


def test_save_and_load_agree(
    density: TableDensity, rows: pa.Table, tmp_path: Path
) -> None:
    save_density(density, tmp_path)
    loaded = load_density(tmp_path)
    assert score_table(loaded, rows).equals(score_table(density, rows))
    assert loaded.info["name"] == "flights"
    assert loaded.info["fingerprints"]["dataset"] == "abc"
    save_density(loaded, tmp_path / "again")
    for name in ("model.json", "weights.safetensors", "calibration.parquet"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / name).read_bytes()


def test_other_calibration_rows_make_another_model(
    density: TableDensity, rows: pa.Table, tmp_path: Path
) -> None:
    fewer = {name: values[:-1] for name, values in density.calibration.items()}
    other = TableDensity(density.encoder, density.model, fewer)
    found = {}
    for name, one in (("one", density), ("same", density), ("other", other)):
        save_density(one, tmp_path / name)
        info = load_density(tmp_path / name).info
        found[name] = info["fingerprints"]["model"]
    assert found["one"] == found["same"] != found["other"]


def damage(folder: Path, name: str, kept: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:kept])


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_folder_that_lacks_a_file_is_named(
    density: TableDensity, tmp_path: Path, name: str
) -> None:
    save_density(density, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load_density(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.json", "weights.safetensors", "calibration.parquet"]
)
def test_a_truncated_file_is_named(
    density: TableDensity, tmp_path: Path, name: str
) -> None:
    save_density(density, tmp_path)
    damage(tmp_path, name, kept=100)
    with pytest.raises(ValueError, match=f"{name}: is damaged"):
        load_density(tmp_path)


def test_weights_of_another_model_are_refused(
    density: TableDensity, tmp_path: Path
) -> None:
    save_density(density, tmp_path)
    other = table_density(seed=1, orderings=1)
    with torch.no_grad():
        next(other.model.parameters()).add_(1.0)
    save_density(other, tmp_path / "other")
    (tmp_path / "other" / "weights.safetensors").rename(
        tmp_path / "weights.safetensors"
    )
    with pytest.raises(ValueError, match="belongs to another model"):
        load_density(tmp_path)


def test_an_unknown_format_is_refused(density: TableDensity, tmp_path: Path) -> None:
    save_density(density, tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99, this version reads 2"):
        load_density(tmp_path)


def test_an_unknown_statistic_is_refused(density: TableDensity) -> None:
    with pytest.raises(ValueError, match="statistic must be one of"):
        score_table(density, odd_row(), statistic="surprise")  # type: ignore[arg-type]
