"""Fixtures that the tests of storage share."""

from pathlib import Path

import pytest


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a folder that does not exist, on either kind of storage."""
    if request.param == "local":
        return str(tmp_path / "output")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
