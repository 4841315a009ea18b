"""Fixtures that the tests of deployments share."""

from collections.abc import Iterator

import pytest

from flows.deploy import deployments
from flows.deploy.deployments import DeployOutcome
from tasks.config.root import Config
from tests.support.schedules import SCHEDULES, with_schedules


@pytest.fixture
def deployed(
    server: None, request: pytest.FixtureRequest
) -> Iterator[tuple[Config, DeployOutcome]]:
    """Yield a deployed configuration with the name of the test, and delete it."""
    config = with_schedules(request.node.name.replace("_", "-"), SCHEDULES)
    yield config, deployments.deploy(config)
    deployments.undeploy(config.name)
