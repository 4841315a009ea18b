"""Tests of the summary of the demo."""

from flows.cli import demo
from tasks.inference.score import AnomalousRow


def test_a_flight_is_named_by_carrier_number_airports_and_hour() -> None:
    ids = {"carrier": "UA", "flight": 15, "origin": "EWR", "dest": "HNL"}
    row = AnomalousRow(
        source="month=10/part-00000.parquet",
        row=7,
        ids={**ids, "time_hour": "2013-10-01 13:00:00"},
        log_prob=-90.0,
        anomaly_score=80.0,
        p_value=0.001,
        severity=99.9,
        q_value=0.1,
        explanation=None,
    )
    assert demo.flight_name(row) == "UA 15 from EWR to HNL, 2013-10-01 13 h UTC"
