from tasks.evaluation.report import anomalous_rows


def test_the_first_column_and_large_contributions_are_reasons() -> None:
    contributions = {"a": 0.1, "b": 0.6, "c": 0.4}
    entries = [{"column": c, "contribution": v} for c, v in contributions.items()]
    shown = [entry["column"] for entry in anomalous_rows.reasons(entries)]
    assert shown == ["a", "b"]
