from tasks.config.schedules import Schedule, SchedulesConfig
from tests.support.sections import assert_refused

CRON = {"cron": "0 3 * * *"}


def test_an_ambiguous_schedule_is_refused() -> None:
    required = "exactly one of cron, interval and rrule is required, got none"
    assert_refused(Schedule, {}, required)
    assert_refused(Schedule, {**CRON, "interval": 60}, "got cron and interval")
    assert_refused(Schedule, {**CRON, "timezone": "Mars"}, "unknown time zone 'Mars'")


def test_retraining_after_drift_needs_both_schedules() -> None:
    keys = {"retrain": CRON, "retrain_after_drift": 2}
    assert_refused(SchedulesConfig, keys, "needs the schedules monitor and retrain")
    allowed = SchedulesConfig.model_validate({**keys, "monitor": CRON})
    assert allowed.retrain_after_drift == 2
