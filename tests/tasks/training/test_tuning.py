import pytest

from tasks.config.root import Config
from tasks.training.search_space import draw_trials
from tasks.training.trial import Record
from tasks.training.tuning import describe_trial, finish

CONFIG = Config.model_validate(
    {"name": "orders", "data": {"path": "orders.parquet"}, "tune": {"trials": 2}}
)
SETTINGS = draw_trials(
    CONFIG.model, CONFIG.train, ("made",), 2, rows=1000, columns=5, seed=0
)


def epoch(nll: float) -> dict[str, float]:
    return {"epoch": 1.0, "valid_nll": nll, "seconds": 2.0}


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (Record([epoch(1.0)], stopped="patience"), "completed"),
        (Record([epoch(1.0)]), "stopped"),
        (Record([], failed="diverged"), "failed"),
    ],
)
def test_states_of_trials(record: Record, state: str) -> None:
    assert describe_trial(1, SETTINGS[1], record).state == state


def test_a_trial_that_failed_is_not_the_best(tmp_path: object) -> None:
    records = [
        Record([epoch(5.0)], stopped="epochs"),
        Record([epoch(1.0)], failed="diverged"),
    ]
    results = [describe_trial(n, SETTINGS[n], r) for n, r in enumerate(records)]
    content = finish(CONFIG, SETTINGS, results, str(tmp_path))
    assert (content["best"], content["valid_nll"], content["gain"]) == (0, 5.0, 0.0)
    assert content["trial_seconds"] == 4.0


def test_no_trial_with_an_epoch_is_an_error(tmp_path: object) -> None:
    results = [describe_trial(n, SETTINGS[n], Record()) for n in (0, 1)]
    with pytest.raises(ValueError, match=r"raise tune\.budget"):
        finish(CONFIG, SETTINGS, results, str(tmp_path))
