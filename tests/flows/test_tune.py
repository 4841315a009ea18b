from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from flows.tune import PARENT_RUN
from tasks.config.load import load
from tests.support.project import Project

OPTIONS = ("--trials", "3", "--set", "tune.families=[made]")


@pytest.fixture(scope="module")
def tuned(project: Project) -> dict[str, Any]:
    """Return the JSON of a search over three trials."""
    return project.json("tune", *OPTIONS)


@pytest.mark.slow
def test_the_best_trial_has_the_lowest_validation_nll(tuned: dict[str, Any]) -> None:
    found = tuned["tune"]
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2]
    scores = [trial["valid_nll"] for trial in found["trials"]]
    assert found["valid_nll"] == min(scores) == scores[found["best"]]
    assert found["gain"] == scores[0] - min(scores) >= 0


@pytest.mark.slow
def test_the_best_configuration_is_one_to_retrain_with(
    tuned: dict[str, Any], project: Project
) -> None:
    best = load(Path(tuned["tune"]["config"]))
    expected = tuned["tune"]["trials"][tuned["tune"]["best"]]["settings"]
    assert best.model.model_dump(mode="json") == expected["model"]
    assert best.train.model_dump(mode="json") == expected["train"]
    content = yaml.safe_load(project.file.read_text())
    for key in content.keys() - {"model", "train"}:
        assert getattr(best, key) == getattr(load(project.file), key), key


@pytest.mark.slow
def test_trials_are_nested_runs(tuned: dict[str, Any]) -> None:
    client = MlflowClient()
    parent = client.get_run(tuned["run_id"])
    runs = client.search_runs(
        [parent.info.experiment_id],
        filter_string=f"tags.`{PARENT_RUN}` = '{tuned['run_id']}'",
    )
    assert len(runs) == 3
    scores = sorted(run.data.metrics["valid/nll"] for run in runs)
    assert scores == sorted(trial["valid_nll"] for trial in tuned["tune"]["trials"])


@pytest.mark.slow
def test_more_trials_keep_those_that_are_finished(
    tuned: dict[str, Any], project: Project
) -> None:
    more = project.json("tune", "--trials", "4", *OPTIONS[2:])
    before = tuned["tune"]["trials"]
    after = more["tune"]["trials"][: len(before)]
    for old, new in zip(before, after, strict=True):
        # The scheduler may go on with a trial that it stopped among fewer trials.
        if old["state"] == "completed":
            assert new == old
        assert new["epochs"] >= old["epochs"]
    assert project.json("tune", *OPTIONS)["tune"]["done"]


def test_a_budget_that_is_no_duration_is_refused(project: Project) -> None:
    ended = project.run("tune", "--budget", "soon")
    assert ended.exit_code == 2
    assert "a duration such as 90s, 30m or 1h30m" in ended.output
