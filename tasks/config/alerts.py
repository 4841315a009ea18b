"""Configuration of alerts about flagged rows and drift."""

from pydantic import Field, PositiveInt

from tasks.config.section import Section


class AlertsConfig(Section):
    """Receivers of messages about flagged rows and drift, and when they get one.

    A message names the most anomalous rows with their ids and values.
    """

    webhook: str | None = Field(None, pattern=r"^https?://")
    """URL that gets each alert as a JSON object by POST; default: none. A secret URL
    belongs in a Prefect block."""

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
