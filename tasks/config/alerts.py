"""Configuration of alerts about flagged rows and drift."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, SecretStr

from tasks.config.section import SecretError, Section


def check_url(url: SecretStr) -> SecretStr:
    """Return an http or https URL, or raise SecretError."""
    if not re.match(r"https?://[^/\s]", url.get_secret_value()):
        raise SecretError("must be a URL that starts with http:// or https://")
    return url


class AlertsConfig(Section):
    """Receivers of messages about flagged rows and drift, and when they get one.

    A message names the most anomalous rows with their ids and values.
    """

    webhook: Annotated[SecretStr, AfterValidator(check_url)] | None = None
    """URL that gets each alert as a JSON object by POST; default: none. Results and
    logs do not show it, but deployments do; a secret URL belongs in a Prefect block
    there."""

    blocks: tuple[str, ...] = ()
    """Prefect blocks that get each alert, such as slack-webhook/team or
    webhook/pager."""

    min_anomalies: PositiveInt = 1
    """Flagged rows of a result from which an alert is sent."""

    rows: PositiveInt = Field(5, le=5)
    """Most anomalous rows that an alert describes."""

    @property
    def receivers(self) -> tuple[str, ...]:
        """The receivers: `webhook` for the URL, and the blocks."""
        return (*(["webhook"] if self.webhook else []), *self.blocks)
