import json
import shutil
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from mlflow.models import convert_input_example_to_serving_input

from ar_models.density.saved_form import load_density, save_density
from ar_models.density.table_density import TableDensity
from ar_models.families.eonade import EoNADE
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.real_column import RealColumn
from ar_models.variables import Variable
from tasks.registry import (
    downloads,
    isolated_load,
    promotion,
    pyfunc_logging,
    registration,
    tracking,
)
from tasks.registry.promotion import Promotion
from tasks.registry.pyfunc_model import moments, to_arrow
from tests.support.densities import sample_table, score_table
from tests.support.model_pair import ModelPair, register_and_gate


def aliases(name: str) -> dict[str, str]:
    found = MlflowClient().get_registered_model(name).aliases
    return {alias: str(number) for alias, number in found.items()}


@pytest.fixture(scope="module")
def first(pair: ModelPair) -> Promotion:
    return register_and_gate(pair, "alone", "strong")


@pytest.fixture(scope="module")
def pyfunc(first: Promotion) -> Any:
    return mlflow.pyfunc.load_model("models:/alone@champion")


@pytest.fixture(scope="module")
def density(pair: ModelPair) -> TableDensity:
    return load_density(Path(pair.models["strong"]))


@pytest.fixture(scope="module")
def frame(pair: ModelPair) -> pd.DataFrame:
    path = sorted(Path(pair.prepared, "test").glob("part-*.parquet"))[0]
    return pq.read_table(path).slice(0, 100).to_pandas()


def test_the_first_version_becomes_champion(first: Promotion) -> None:
    assert first.version == "1"
    assert (first.alias, first.promoted) == ("champion", True)
    assert aliases("alone") == {"champion": "1"}


def test_a_version_says_where_it_comes_from(
    pair: ModelPair, first: Promotion, density: TableDensity
) -> None:
    tags = MlflowClient().get_model_version("alone", "1").tags
    assert tags["model_fingerprint"] == density.info["fingerprints"]["model"]
    assert tags["flow_run_id"] == "f"
    about = json.loads(Path(pair.prepared, "_manifest.json").read_text())
    assert tags["prepare_key"] == about["job_key"]
    assert {"train_key", "evaluate_key", "schema_fingerprint"} <= set(tags)


def test_a_version_has_a_card_and_a_dataset(first: Promotion) -> None:
    client = MlflowClient()
    version = client.get_model_version("alone", "1")
    card = str(version.description)
    assert "- **License**: not stated" in card
    assert "- **Period**: time from 2024-03-01" in card
    assert "Column nothing is not modelled" in card
    assert "How to read the scores" in card
    (used,) = client.get_run(version.run_id).inputs.dataset_inputs
    assert used.dataset.digest == version.tags["dataset_fingerprint"]


def test_a_version_has_the_metrics_of_its_evaluation(
    pair: ModelPair, first: Promotion
) -> None:
    client = MlflowClient()
    source = str(client.get_model_version("alone", "1").source)
    model_id = source.removeprefix("models:/")
    logged = {m.key: m.value for m in client.get_logged_model(model_id).metrics}
    assert logged == pytest.approx(pair.evaluations["strong"].metrics)


def test_a_version_pins_what_it_needs(first: Promotion) -> None:
    path = mlflow.pyfunc.get_model_dependencies("models:/alone/1")
    lines = Path(path).read_text().split()
    names = {line.partition("==")[0] for line in lines}
    needed = {"mlflow", "numba", "numpy", "pandas", "pyarrow", "safetensors", "torch"}
    assert names == needed
    assert all("==" in line and "+" not in line for line in lines)


def test_registering_the_same_model_again_changes_nothing(
    pair: ModelPair, first: Promotion
) -> None:
    again = register_and_gate(pair, "alone", "strong")
    assert again.version == "1"
    assert again.promoted
    assert len(MlflowClient().search_model_versions("name = 'alone'")) == 1
    assert aliases("alone") == {"champion": "1"}


def test_a_better_model_becomes_champion(pair: ModelPair) -> None:
    register_and_gate(pair, "rising", "weak")
    found = register_and_gate(pair, "rising", "strong")
    assert found.promoted
    assert aliases("rising") == {"champion": "2", "previous": "1"}


def test_a_model_that_is_not_better_stays_challenger(pair: ModelPair) -> None:
    register_and_gate(pair, "falling", "strong")
    found = register_and_gate(pair, "falling", "weak")
    assert not found.promoted
    assert found.alias == "challenger"
    assert "does not lie above 0" in found.reason
    assert aliases("falling") == {"champion": "1", "challenger": "2"}
    assert not register_and_gate(pair, "falling", "weak").promoted
    assert len(MlflowClient().search_model_versions("name = 'falling'")) == 2


def test_the_gate_may_ask_for_more(pair: ModelPair) -> None:
    register_and_gate(pair, "asking", "weak")
    found = register_and_gate(pair, "asking", "strong", min_improvement=100.0)
    assert not found.promoted
    assert aliases("asking") == {"champion": "1", "challenger": "2"}


def test_a_version_says_what_the_gate_said(pair: ModelPair) -> None:
    register_and_gate(pair, "telling", "strong")
    found = register_and_gate(pair, "telling", "weak")
    client = MlflowClient()
    tags = client.get_model_version("telling", found.version).tags
    assert tags["validation_status"] == "rejected"
    assert "does not lie above 0" in tags["validation_reason"]
    assert tags["parent_version"] == "1"
    run = client.get_run(client.get_model_version("telling", "2").run_id)
    assert run.data.metrics["gate/improvement"] < 0
    assert run.data.metrics["gate/improvement_passed"] == 0
    assert run.data.metrics["gate/column/count_passed"] in (0, 1)


def test_a_person_may_promote_what_the_gate_refused(pair: ModelPair) -> None:
    register_and_gate(pair, "asked", "strong")
    register_and_gate(pair, "asked", "weak")
    moved = promotion.promote("asked", "2", "we know better")
    assert (moved.champion, moved.previous) == ("2", "1")
    assert aliases("asked") == {"champion": "2", "previous": "1"}
    tags = MlflowClient().get_model_version("asked", "2").tags
    assert tags["promoted_reason"] == "we know better"
    assert tags["validation_status"] == "promoted manually"
    assert {"promoted_by", "promoted_at"} <= set(tags)
    assert register_and_gate(pair, "asked", "weak").reason == "already the champion"
    assert promotion.promote("asked", "2", "again").done


def test_a_rollback_restores_the_previous_champion_for_good(
    pair: ModelPair,
) -> None:
    register_and_gate(pair, "back", "weak")
    register_and_gate(pair, "back", "strong")
    moved = promotion.rollback("back", "it flagged half of Sunday")
    assert (moved.champion, moved.rolled_back) == ("1", "2")
    assert aliases("back") == {"champion": "1"}
    again = register_and_gate(pair, "back", "strong")
    assert not again.promoted
    assert "it flagged half of Sunday" in again.reason
    assert again.needs_review
    promotion.promote("back", "2", "it was Sunday's fault")
    assert register_and_gate(pair, "back", "strong").promoted
    assert aliases("back") == {"champion": "2", "previous": "1"}


def test_rollbacks_go_back_step_by_step(pair: ModelPair) -> None:
    register_and_gate(pair, "steps", "weak")
    register_and_gate(pair, "steps", "strong")
    client = MlflowClient()
    source = str(client.get_model_version("steps", "2").source)
    client.create_model_version("steps", source)
    promotion.promote("steps", "3", "a copy")
    assert promotion.rollback("steps", "once").previous == "1"
    assert promotion.rollback("steps", "twice").champion == "1"
    with pytest.raises(ValueError, match="no previous champion"):
        promotion.rollback("steps", "thrice")


@pytest.mark.parametrize(
    ("name", "number", "reason", "said"),
    [
        ("alone", "9", "why", "alone has no version '9'; available versions: 1"),
        ("nobody", "1", "why", "no model named 'nobody' is registered"),
        ("alone", "1", " ", "--reason is empty"),
    ],
)
def test_a_promotion_of_nothing_is_told(
    first: Promotion, name: str, number: str, reason: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        promotion.promote(name, number, reason)


def test_a_rollback_of_nothing_is_told(first: Promotion) -> None:
    with pytest.raises(ValueError, match="no previous champion"):
        promotion.rollback("alone", "why")
    with pytest.raises(ValueError, match="no model named 'nobody' is registered"):
        promotion.rollback("nobody", "why")


def test_the_evaluation_of_another_model_is_refused(pair: ModelPair) -> None:
    with pytest.raises(ValueError, match="the evaluation of another model"):
        registration.register(
            "wrong",
            pair.models["weak"],
            pair.evaluations["strong"].path,
            pair.prepared,
            "run",
        )


def test_download_resolves_an_alias_once(
    first: Promotion, density: TableDensity, storage_root: str
) -> None:
    model = downloads.download("models:/alone@champion", storage_root)
    assert (model.info.name, model.info.version) == ("alone", "1")
    assert model.info.fingerprint == density.info["fingerprints"]["model"]
    loaded = load_density(Path(model.folder))
    assert loaded.info == density.info
    assert downloads.download("models:/alone/1", storage_root) == model


def test_a_model_folder_needs_no_registry(pair: ModelPair, storage_root: str) -> None:
    model = downloads.download(pair.models["strong"], storage_root)
    assert model.folder == pair.models["strong"]
    assert model.info.version is None


@pytest.mark.parametrize("uri", ["models:/alone@nobody", "models:/alone/7"])
def test_an_unknown_version_is_named(
    first: Promotion, uri: str, storage_root: str
) -> None:
    with pytest.raises(ValueError, match=f"{uri}: no such version"):
        downloads.download(uri, storage_root)


def test_a_uri_without_a_version_is_refused(storage_root: str) -> None:
    with pytest.raises(ValueError, match="without a version or alias"):
        downloads.download("models:/alone", storage_root)


def test_the_example_of_a_version_can_be_written() -> None:
    amounts = pa.array([Decimal("1.50"), None], pa.decimal128(38, 10))
    table = pa.table({"amount": amounts, "day": pa.array([0, None], pa.date32())})
    found = pyfunc_logging.to_json_frame(table)
    written = json.loads(convert_input_example_to_serving_input(found))
    assert written["dataframe_split"]["data"][0] == [1.5, "1970-01-01"]
    waits = pa.table({"wait": pa.array([5], pa.duration("s"))})
    assert pyfunc_logging.to_json_frame(waits) is None


def test_the_pyfunc_scores_as_the_density_does(
    pyfunc: Any, density: TableDensity, frame: pd.DataFrame
) -> None:
    scored = pyfunc.predict(frame)
    table = score_table(density, pa.Table.from_pandas(frame))
    for name in ("log_prob", "anomaly_score", "p_value", "severity"):
        np.testing.assert_allclose(scored[name], table[name], atol=1e-5)
    assert scored["explanation"][0][0] == table["explanation"][0].as_py()[0]


def test_the_pyfunc_takes_other_orders_extra_columns_and_nulls(
    pyfunc: Any, frame: pd.DataFrame
) -> None:
    usual = pyfunc.predict(frame)["log_prob"]
    other = frame[frame.columns[::-1]].assign(extra=1)
    other["count"] = other["count"].astype("Int64")
    other["kind <b>"] = other["kind <b>"].astype("category")
    np.testing.assert_allclose(pyfunc.predict(other)["log_prob"], usual, atol=1e-5)
    without = frame.assign(count=np.nan, large=None)
    assert np.isfinite(pyfunc.predict(without)["log_prob"]).all()


@pytest.mark.parametrize(
    ("seen", "nulls"), [(("nan",), 0), (("missing",), 1), (("missing", "nan"), 1)]
)
def test_nan_in_a_frame_means_what_it_meant_in_training(
    seen: tuple[str, ...], nulls: int
) -> None:
    codes = Variable("a.state", "categorical", 0, size=1 + len(seen))
    value = Variable("a", "real", 0, parent=0)
    states = ("regular", *seen)
    column = RealColumn(
        "a", "real", "double", 9, (codes, value), states, (), (0, 1), (0, 1)
    )
    encoder = TableEncoder((column,), (), pa.schema([("a", pa.float64())]))
    table = to_arrow(pd.DataFrame({"a": [1.0, np.nan]}), encoder)
    assert table["a"].null_count == nulls


def test_the_pyfunc_names_a_missing_column(pyfunc: Any, frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"the columns \['count'\] are missing"):
        pyfunc.predict(frame.drop(columns="count"))


def test_the_pyfuncs_params_choose_the_output(
    pyfunc: Any, density: TableDensity, frame: pd.DataFrame
) -> None:
    alone = pyfunc.predict(frame, params={"output": "log_prob"})
    assert list(alone) == ["log_prob"]
    np.testing.assert_allclose(alone["log_prob"], pyfunc.predict(frame)["log_prob"])
    embedded = pyfunc.predict(frame, params={"output": "embed"})
    features = density.features(pa.Table.from_pandas(frame))
    np.testing.assert_allclose(np.stack(embedded["features"]), features, atol=1e-5)
    params = {"output": "sample", "rows": 20, "seed": 3, "log_prob": True}
    drawn = pyfunc.predict(pd.DataFrame(), params=params)
    expected = sample_table(density, 20, seed=3, log_prob=True).to_pandas()
    pd.testing.assert_frame_equal(drawn, expected, check_exact=False, atol=1e-5)
    columns = pyfunc.predict(frame, params={"output": "column_log_prob"})
    assert list(columns) == density.columns
    np.testing.assert_allclose(columns.sum(axis=1), alone["log_prob"])
    few = pyfunc.predict(
        frame, params={"statistic": "surprisal", "explain": "none", "threshold": 50.0}
    )
    np.testing.assert_allclose(few["anomaly_score"], -few["log_prob"])
    assert [len(reasons) for reasons in few["explanation"]] == [0] * len(frame)
    assert 0.2 < few["is_anomaly"].mean() < 0.8
    with pytest.raises(ValueError, match="output must be"):
        pyfunc.predict(frame, params={"output": "scores"})


def test_the_pyfunc_takes_frames_of_arrow_and_single_rows(
    pyfunc: Any, frame: pd.DataFrame
) -> None:
    usual = pyfunc.predict(frame, params={"output": "log_prob"})["log_prob"]
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    found = pyfunc.predict(arrow, params={"output": "log_prob"})["log_prob"]
    np.testing.assert_allclose(found, usual, atol=1e-5)
    one = pyfunc.predict(frame[3:4], params={"output": "log_prob"})["log_prob"]
    np.testing.assert_allclose(one, usual[3:4], atol=1e-5)
    assert len(pyfunc.predict(frame[:0])) == 0


@pytest.mark.parametrize("output", ["score", "log_prob", "column_log_prob", "embed"])
def test_what_is_predicted_of_rows_has_their_index(
    pyfunc: Any, frame: pd.DataFrame, output: str
) -> None:
    shuffled = frame.sample(frac=1, random_state=0)
    found = pyfunc.predict(shuffled, params={"output": output})
    pd.testing.assert_index_equal(found.index, shuffled.index)


def test_moments_may_be_words(pyfunc: Any, frame: pd.DataFrame) -> None:
    usual = pyfunc.predict(frame, params={"output": "log_prob"})["log_prob"]
    for words in (
        frame["time"].astype(str),
        frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.000+00:00").astype("category"),
    ):
        found = pyfunc.predict(frame.assign(time=words), params={"output": "log_prob"})
        np.testing.assert_allclose(found["log_prob"], usual, atol=1e-5)
    with pytest.raises(ValueError, match="column 'time': cannot be read as timestamp"):
        pyfunc.predict(frame.assign(time="yesterday"))


@pytest.mark.parametrize(
    ("words", "type", "expected"),
    [
        ("2024-02-29", pa.date32(), pa.timestamp("us")),
        ("2024-02-29T12:30:00", pa.timestamp("s"), pa.timestamp("s")),
        ("2024-02-29 12:30:00.5", pa.timestamp("ms"), pa.timestamp("ms")),
        ("2024-02-29T12:30:00Z", pa.timestamp("ns"), pa.timestamp("ns", "UTC")),
        ("12:30", pa.time32("s"), pa.time32("s")),
        ("12:30:00.5", pa.time64("ns"), pa.time64("ns")),
        ("2024-02-29", pa.string(), pa.string()),
        ("2024-02-29", pa.duration("s"), pa.string()),
    ],
)
def test_words_are_moments_where_the_column_was_of_moments(
    words: str, type: pa.DataType, expected: pa.DataType
) -> None:
    found = moments(pa.array([words, None]), type)
    assert found.type == expected
    assert found.null_count == 1


def test_the_pyfunc_imputes(
    pair: ModelPair, density: TableDensity, frame: pd.DataFrame, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    anyhow = TableDensity(
        density.encoder, EoNADE(density.encoder.variables, EoNADE.Settings(hidden=8))
    )
    save_density(anyhow, tmp_path)
    run_id = tracking.start("imputing", "key", {}, {})
    logged = pyfunc_logging.log_pyfunc(str(tmp_path), anyhow, pair.prepared, run_id)
    model = mlflow.pyfunc.load_model(logged.model_uri)
    gaps = frame[density.columns].assign(amount=np.nan)
    gaps["kind <b>"] = None
    params = {"output": "impute", "method": "median", "details": True}
    filled = model.predict(gaps, params=params)
    assert not filled[density.columns].isna().any(axis=None)
    known = gaps["count"].notna()
    np.testing.assert_array_equal(filled["count"][known], gaps["count"][known])
    assert {cell["column"] for cell in filled["imputed"][0]} >= {"amount", "kind <b>"}
    drawn = [
        model.predict(gaps, params={"output": "impute", "seed": seed})["amount"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])
    unknown = model.predict(
        gaps, params={"output": "log_prob", "missing": "marginalise"}
    )
    expected = anyhow.log_prob(to_arrow(gaps, anyhow.encoder), missing="marginalise")
    np.testing.assert_allclose(unknown["log_prob"], expected, atol=1e-5)


def test_a_family_that_cannot_impute_says_so(pyfunc: Any, frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="order_agnostic|order-agnostic"):
        pyfunc.predict(frame, params={"output": "impute"})


def test_many_rows_are_worked_on_in_parts(pyfunc: Any, frame: pd.DataFrame) -> None:
    module = sys.modules[type(pyfunc.unwrap_python_model()).__module__]
    many = pd.concat([frame] * 3, ignore_index=True)
    usual = pyfunc.predict(many, params={"output": "log_prob"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", 70)
        parts = pyfunc.predict(many, params={"output": "log_prob"})
    pd.testing.assert_frame_equal(parts, usual, check_exact=False, atol=1e-5)


def test_two_versions_in_one_process_have_their_own_code(
    first: Promotion, frame: pd.DataFrame, tmp_path: Path
) -> None:
    models = []
    other_code = (
        "TableDensity.column_log_prob = lambda *_, **__: np.full((1, 1), 7.0)\n"
    )
    module = "ar_models.density.table_density"
    for number, line in enumerate(["", other_code]):
        folder = tmp_path / str(number)
        mlflow.artifacts.download_artifacts("models:/alone/1", dst_path=str(folder))
        with open(
            folder / "code" / "ar_models" / "density" / "table_density.py", "a"
        ) as file:
            file.write(line)
        models.append(mlflow.pyfunc.load_model(str(folder)))
    before = sys.modules[module]
    params = {"output": "log_prob"}
    usual, changed = (m.predict(frame[:1], params=params) for m in models)
    assert changed["log_prob"][0] == 7.0
    assert usual["log_prob"][0] != 7.0
    assert sys.modules[module] is before
    own = [model.unwrap_python_model().density for model in models]
    assert len({TableDensity, *map(type, own)}) == 3
    expected = models[0].predict(frame)
    other = own[1]
    for weight in other.model.parameters():
        weight.data.zero_()
    other.rankings.clear()
    pd.testing.assert_frame_equal(models[0].predict(frame), expected)


def test_a_consumer_needs_neither_checkout_nor_ray_nor_prefect(
    first: Promotion, density: TableDensity, pair: ModelPair
) -> None:
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 300)
    params = {"output": "score", "column_log_prob": True}
    found = isolated_load.predict("models:/alone/1", rows, params, clean=False)
    expected = score_table(density, rows)
    for name in ("log_prob", "anomaly_score", "p_value", "severity"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert found["explanation"][0][0]["expected"].as_py()


def test_the_gate_loads_a_version_as_a_consumer_would(
    first: Promotion, density: TableDensity, pair: ModelPair
) -> None:
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 20)
    found = isolated_load.log_prob("models:/alone/1", rows, clean=False)
    np.testing.assert_allclose(found, density.log_prob(rows), atol=1e-5)
    wrong = rows.drop_columns(["count"])
    with pytest.raises(RuntimeError, match="the columns .'count'. are missing"):
        isolated_load.log_prob("models:/alone/1", wrong, clean=False)


def test_a_version_runs_its_own_code_or_none(
    first: Promotion, pair: ModelPair, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    mlflow.artifacts.download_artifacts("models:/alone/1", dst_path=str(folder))
    shutil.rmtree(folder / "code" / "ar_models")
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 2)
    with pytest.raises(RuntimeError, match=r"No module named|code came from"):
        isolated_load.log_prob(str(folder), rows, clean=False)


def test_a_run_of_the_same_job_is_resumed() -> None:
    config = {"model": {"hidden": 8}, "seed": 1}
    first = tracking.start("resumed", "key", config, {"dataset": "d"})
    tracking.finish(first, "FAILED")
    again = tracking.start("resumed", "key", config | {"workers": 2}, {"dataset": "d"})
    assert again == first
    run = MlflowClient().get_run(again)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"model.hidden": "8", "seed": "1", "workers": "2"}
    assert run.data.tags["fingerprint.dataset"] == "d"
    assert tracking.start("resumed", "other", config, {}) != first


def test_epochs_are_logged_once() -> None:
    run_id = tracking.start("epochs", "key", {}, {})
    record = {"epoch": 1, "train_nll": 3.0, "valid_nll": 2.0, "rows_per_s": 9.0}
    tracking.metrics_logger(run_id)(record)
    log = tracking.metrics_logger(run_id)
    log(record)
    log(record | {"epoch": 2, "valid_nll": 1.0})
    history = MlflowClient().get_metric_history(run_id, "valid/nll")
    assert [(m.step, m.value) for m in history] == [(1, 2.0), (2, 1.0)]
    metrics = MlflowClient().get_run(run_id).data.metrics
    assert metrics["train/nll"] == 3.0
    assert metrics["throughput/rows_per_s"] == 9.0


def test_artifacts_stand_below_the_storage(tmp_path: Path) -> None:
    run_id = tracking.start("artifacts", "key", {}, {})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_text("a")
    (tmp_path / "report.html").write_text("b")
    paths = [str(tmp_path / name) for name in ("figures", "report.html")]
    tracking.log_results(run_id, {"test/nll": 1.5}, artifacts=paths)
    run = MlflowClient().get_run(run_id)
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    database = Path(mlflow.get_tracking_uri().removeprefix("sqlite:///"))
    assert folder.is_relative_to(database.parent)
    assert (folder / "figures" / "a.png").read_text() == "a"
    assert (folder / "report.html").read_text() == "b"
    assert run.data.metrics == {"test/nll": 1.5}


def test_a_deleted_experiment_is_told() -> None:
    tracking.start("deleted", "key", {}, {})
    client = MlflowClient()
    experiment = client.get_experiment_by_name("deleted")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(ValueError, match="'deleted' is deleted; restore it"):
        tracking.start("deleted", "key", {}, {})
