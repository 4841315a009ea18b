from pathlib import Path
from typing import Any

import pytest

from tasks.config.model import SECTIONS, ModelConfig, model_config
from tasks.config.resources import Resources
from tasks.config.section import AUTO
from tasks.config.train import TrainConfig
from tasks.runtime import manifest, storage
from tasks.training import defaults, train
from tasks.training.worker import TrainingRun

SIZES = [1, 40, 900, 1_300, 5_000, 12_000, 300_000, 10_000_000]
"""Numbers of training rows."""


def resolved(rows: int, columns: int = 20, **train: Any) -> dict[str, float]:
    """Return all numbers that `auto` stands for, by key, and the number of steps."""
    model, training = defaults.resolve(
        model_config(), TrainConfig(**train), rows, columns
    )
    steps = training.epochs * -(-rows // training.batch_size)
    sizes = {key: model.settings()[key] for key in ("hidden", "dropout")}
    return {**training.model_dump(), **sizes, "steps": steps}


@pytest.mark.parametrize("columns", [1, 20, 500])
def test_more_rows_make_more_steps_of_larger_batches(columns: int) -> None:
    sizes = [resolved(rows, columns) for rows in SIZES]
    for fewer, more in zip(sizes, sizes[1:], strict=False):
        for key in ("steps", "batch_size", "hidden", "ema_decay"):
            assert fewer[key] <= more[key], key
        for key in ("epochs", "patience", "dropout"):
            assert fewer[key] >= more[key], key


@pytest.mark.parametrize("rows", SIZES)
def test_more_columns_make_wider_and_more_regularised_networks(rows: int) -> None:
    sizes = [resolved(rows, columns) for columns in (1, 5, 30, 200, 2_000)]
    for key in ("hidden", "dropout"):
        assert sorted(size[key] for size in sizes) == [size[key] for size in sizes]


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", [1, 2_000])
def test_numbers_are_bounded(rows: int, columns: int) -> None:
    size = resolved(rows, columns)
    assert size["epochs"] in defaults.EPOCHS
    assert size["batch_size"] in defaults.BATCH_SIZES
    assert size["hidden"] in defaults.WIDTHS
    assert 0 <= size["dropout"] <= defaults.MAX_DROPOUT
    assert 0 <= size["ema_decay"] < 1
    assert 5 <= size["patience"] <= size["epochs"]


@pytest.mark.parametrize(
    ("rows", "least", "most"),
    [(1_000, 2_000, 3_000), (12_000, 3_000, 4_500), (300_000, 6_000, 8_000)],
)
def test_steps_are_thousands_in_proportionate_time(
    rows: int, least: int, most: int
) -> None:
    assert least <= resolved(rows)["steps"] <= most
    assert resolved(10_000_000)["epochs"] <= 12


def test_given_numbers_stay_and_others_follow_them() -> None:
    size = resolved(12_000, epochs=100, batch_size=64)
    assert (size["epochs"], size["batch_size"]) == (100, 64)
    assert size["patience"] == 25
    assert size["ema_decay"] > resolved(12_000)["ema_decay"]
    given = {"ema_decay": 0.0, "patience": 3}
    assert given.items() <= resolved(12_000, **given).items()
    network = model_config(hidden=7, dropout=0.0)
    assert defaults.resolve(network, TrainConfig(), 900, 20)[0] == network


def test_few_steps_are_not_averaged() -> None:
    assert resolved(100, epochs=2)["ema_decay"] == 0.0


@pytest.mark.parametrize("family", SECTIONS)
def test_no_family_is_left_with_auto(family: str) -> None:
    model, training = defaults.resolve(
        model_config(family=family), TrainConfig(), 900, 20
    )
    left = {key for key, value in model.settings().items() if value == AUTO}
    assert left <= {"ordering"}  # which depends on the columns
    assert set(training.model_dump()) == set(TrainConfig().model_dump())


def test_every_choice_is_a_key_that_is_auto_by_default() -> None:
    sections = {"model": model_config(), "train": TrainConfig()}
    for key in defaults.choose(900, 20):
        section, name = key.split(".")
        assert getattr(sections[section], name) == AUTO


class StartedError(Exception):
    """Ends training at its start; holds the run."""


def start_training(
    folder: Path, model: ModelConfig, training: TrainConfig
) -> TrainingRun:
    """Return the run that training on a prepared dataset of 900 rows starts."""
    columns = {"city": "categorical", "age": "integer", "id": "left out"}
    storage.write_json(
        str(folder / manifest.MANIFEST),
        {
            "job_key": "p",
            "rows": {"train": 900},
            "columns": columns,
            "log_abs_det": {},
        },
    )
    output = str(folder / "{key}")
    with pytest.raises(StartedError) as started:
        train.train(str(folder), model, training, output, Resources())
    (run,) = started.value.args
    assert isinstance(run, TrainingRun)
    return run


def test_the_numbers_are_those_of_training_and_of_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(run: TrainingRun, *_: object) -> None:
        raise StartedError(run)

    monkeypatch.setattr(train.driver, "fit", fit)
    monkeypatch.setattr(train, "resolve_model", lambda model, *_: model)
    run = start_training(tmp_path, model_config(), TrainConfig())
    model, training = defaults.resolve(model_config(), TrainConfig(), 900, 2)
    assert run.training == training
    assert run.model == model.model_dump(mode="json")
    assert start_training(tmp_path, model, training).key == run.key
    other = start_training(tmp_path, model, TrainConfig(epochs=3))
    assert other.key != run.key
