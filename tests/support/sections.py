"""Checks of sections of the configuration."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.config.section import Section


def assert_refused(section: type[Section], keys: dict[str, Any], message: str) -> None:
    """Check that keys are invalid in a section, and why."""
    with pytest.raises(ValidationError, match=message):
        section.model_validate(keys)
