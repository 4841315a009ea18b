"""Fixtures that the tests of flows share: a small project with a champion."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flows.cli.console import CommandConsole
from flows.process import server as embedded
from flows.process import supervisor
from tests.support.local_jobs import local_jobs
from tests.support.project import Project


@pytest.fixture(scope="session")
def project(
    server: None, ray: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """Yield a small project whose commands run here; only training is on Ray.

    Loggers are restored.
    """
    root = logging.getLogger()
    before = (root.handlers, root.level)
    with local_jobs(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "is_supervised", lambda: True)
        patch.setattr(embedded, "start", lambda storage: None)
        patch.setattr(CommandConsole, "redirect", lambda console, log: None)
        folder = tmp_path_factory.mktemp("project")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/storage/mlflow.db")
        yield Project(folder)
    root.handlers, root.level = before
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def retrained(project: Project) -> dict[str, Any]:
    """Return the JSON of the first retraining, whose version 1 is champion."""
    return project.json("retrain")


@pytest.fixture(scope="session")
def challenger(project: Project, retrained: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a retraining that the gate refused."""
    changes = ["--set", "train.learning_rate=1.0e-9"]
    return project.json("retrain", *changes, code=3)
