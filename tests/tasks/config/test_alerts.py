import pytest
from pydantic import ValidationError

from tasks.config.alerts import AlertsConfig


def test_the_receivers_are_the_webhook_and_the_blocks() -> None:
    assert AlertsConfig().receivers == ()
    blocks = ("slack-webhook/team",)
    both = AlertsConfig(webhook="https://example.org/hook", blocks=blocks)
    assert both.receivers == ("webhook", "slack-webhook/team")


def test_a_webhook_is_a_url() -> None:
    with pytest.raises(ValidationError, match="webhook"):
        AlertsConfig(webhook="ftp://example.org")
