from typing import Any

from tasks.config.model import ModelConfig, model_config
from tasks.config.train import TrainConfig
from tasks.training import defaults
from tasks.training.search_space import Settings, draw_trials

FAMILIES = ("made", "nade", "eonade", "transformer", "rnn")


def drawn(
    model: ModelConfig, training: TrainConfig, count: int = 60, **changed: Any
) -> list[Settings]:
    """Return the settings of trials for a table of 12,000 rows."""
    size: dict[str, Any] = {"rows": 12_000, "columns": 20} | changed
    return draw_trials(model, training, FAMILIES, count, **size)


def test_the_first_trial_is_the_configuration_itself() -> None:
    model, training = model_config(components=5), TrainConfig(learning_rate=0.1)
    first = drawn(model, training, 3)[0]
    assert first == defaults.resolve(model, training, 12_000, 20)


def test_trials_differ_in_every_setting_and_are_valid() -> None:
    trials = drawn(model_config(), TrainConfig())
    assert {model.family for model, _ in trials} == set(FAMILIES)
    for key in ("hidden", "layers", "components", "dropout", "ordering"):
        own = [m.settings()[key] for m, _ in trials if m.family == "made"]
        assert len(set(own)) > 1, key
    for key in ("learning_rate", "batch_size", "weight_decay", "swap_noise"):
        assert len({getattr(training, key) for _, training in trials}) > 1, key


def test_settings_that_the_configuration_gives_stay() -> None:
    model = model_config(family="made", hidden=192, dropout="auto")
    training = TrainConfig(batch_size=100, learning_rate=0.003, epochs="auto")
    for network, step in drawn(model, training):
        if network.family == "made":
            assert network.settings()["hidden"] == 192
        assert (step.batch_size, step.learning_rate) == (100, 0.003)


def test_more_trials_begin_with_the_same_ones() -> None:
    model, training = model_config(), TrainConfig()
    assert drawn(model, training, 20)[:5] == drawn(model, training, 5)
    assert drawn(model, training, 5, seed=1)[1:] != drawn(model, training, 5)[1:]
