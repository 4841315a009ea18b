"""Configuration of deployments and their schedules."""

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tasks.config.section import Section


class Schedule(Section):
    """When a deployment runs: by cron, at an interval or by an RRULE."""

    cron: str | None = Field(None, description="such as 0 3 * * *")
    interval: PositiveFloat | None = Field(
        None, description="seconds, counted from 2020-01-01 00:00"
    )
    rrule: str | None = Field(None, description="such as FREQ=MONTHLY;BYMONTHDAY=1")
    timezone: str = Field("UTC", description="such as Europe/Berlin")
    active: bool = True
    timeout_seconds: PositiveFloat | None = Field(
        None, description="after which a run is stopped and has failed"
    )

    @model_validator(mode="after")
    def check(self) -> "Schedule":
        """Rules that several keys make together."""
        given = [k for k in ("cron", "interval", "rrule") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(
                f"one of cron, interval and rrule is needed, given are {given}"
            )
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"timezone: {self.timezone!r} is not known; say one such as "
                "Europe/Berlin"
            ) from error
        return self


class SchedulesConfig(Section):
    """What `chainrule deploy` creates: deployments, and how they run."""

    retrain: Schedule | None = Field(None, description="when to retrain")
    score: Schedule | None = Field(None, description="when to score what is new")
    monitor: Schedule | None = Field(None, description="when to look for drift")
    sample: Schedule | None = Field(None, description="when to draw synthetic rows")
    work_pool: str = Field("chainrule", description="work pool; made if there is none")
    work_pool_type: Literal["process", "kubernetes"] = Field(
        "process", description="of the work pool, if it is made"
    )
    job_variables: dict[str, str] = Field(
        {}, description="for the jobs of the pool, such as an image"
    )
    on_overlap: Literal["cancel", "queue"] = Field(
        "cancel", description="what becomes of a run that finds another one running"
    )
    retrain_after_drift: PositiveInt | None = Field(
        None,
        description="batches in a row that drifted, as the monitor sees it, after "
        "which a retraining starts by itself",
    )
    notify: tuple[str, ...] = Field(
        (),
        description="Prefect blocks that are told of failures and refusals, such as "
        "slack-webhook/team or webhook/pager",
    )

    @model_validator(mode="after")
    def check(self) -> "SchedulesConfig":
        """Rules that several keys make together."""
        if self.retrain_after_drift and not (self.retrain and self.monitor):
            raise ValueError(
                "retrain_after_drift needs the schedules monitor and retrain (which "
                "may have active: false)"
            )
        return self
