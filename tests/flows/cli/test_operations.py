"""Tests of the commands for unattended operation."""

from flows.cli.execution import ExitCode
from tests.support.project import Project


def test_deploy_lists_its_changes_before_it_makes_them(project: Project) -> None:
    schedule = "schedules.retrain={cron: 0 3 * * *}"
    shown = project.run("deploy", "--set", schedule, "--dry-run")
    assert shown.exit_code == ExitCode.DONE, shown.output
    assert "scheduled-retrain/small" in shown.stdout
    assert "dry run: nothing was changed" in shown.stdout
    assert project.json("undeploy", "--dry-run")["changes"] == []


def test_a_replay_of_no_dataset_is_one_message(project: Project) -> None:
    ended = project.run("replay", "--data", "nowhere", "--window", "2")
    assert ended.exit_code == ExitCode.FAILED
    assert "nowhere: no such file" in ended.stderr
