"""Configuration of deployments and their schedules."""

from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import PositiveFloat, PositiveInt, model_validator

from tasks.config.section import Section


class Schedule(Section):
    """Schedule of a deployment: a cron expression, an interval or an RRULE."""

    cron: str | None = None
    """Cron expression, such as 0 3 * * *."""

    interval: PositiveFloat | None = None
    """Seconds between runs, counted from 2020-01-01 00:00."""

    rrule: str | None = None
    """Recurrence rule (RFC 5545), such as FREQ=MONTHLY;BYMONTHDAY=1."""

    timezone: str = "UTC"
    """Time zone of the schedule, such as Europe/Berlin."""

    active: bool = True
    """Schedule runs; if false, runs are started manually only."""

    timeout_seconds: PositiveFloat | None = None
    """Seconds after which a run is stopped and fails; default: never."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [k for k in ("cron", "interval", "rrule") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(
                "exactly one of cron, interval and rrule is required, got "
                f"{' and '.join(given) or 'none'}"
            )
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone: unknown time zone {self.timezone!r}; use a name such as "
                "Europe/Berlin"
            ) from error
        return self


class SchedulesConfig(Section):
    """Prefect deployments that `chainrule deploy` creates, and how they run."""

    retrain: Schedule | None = None
    """Schedule of retraining; default: no deployment."""

    score: Schedule | None = None
    """Schedule of scoring new partitions; default: no deployment."""

    monitor: Schedule | None = None
    """Schedule of drift checks; default: no deployment."""

    sample: Schedule | None = None
    """Schedule of drawing synthetic rows; default: no deployment."""

    work_pool: str = "chainrule"
    """Prefect work pool; created if it does not exist."""

    work_pool_type: Literal["process", "kubernetes"] = "process"
    """Type of the work pool, if it is created."""

    job_variables: dict[str, str] = {}
    """Job variables of the work pool, such as a container image."""

    on_overlap: Literal["cancel", "queue"] = "cancel"
    """Treatment of a run that starts while another run works on the dataset: it is
    cancelled or waits."""

    retrain_after_drift: PositiveInt | None = None
    """Number of consecutive monitored batches with drift that starts a retraining;
    default: drift starts none."""

    notify: tuple[str, ...] = ()
    """Prefect blocks that are notified of failures and refusals, such as
    slack-webhook/team or webhook/pager."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.retrain_after_drift and not (self.retrain and self.monitor):
            raise ValueError(
                "retrain_after_drift needs the schedules monitor and retrain, which "
                "may have active: false"
            )
        return self
