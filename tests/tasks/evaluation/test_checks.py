from tasks.evaluation.checks import Check, to_metrics, to_table


def test_checks_become_metrics_and_a_table() -> None:
    made = [
        Check("segment/a=b <c>", 1.0, True, "fine", interval=(0.5, 1.5), bound=-0.5),
        Check("finite", 2, False, "2 rows", bound=0),
    ]
    assert to_metrics(made) == {
        "gate/segment/a_b _c_": 1.0,
        "gate/segment/a_b _c__passed": 1.0,
        "gate/segment/a_b _c__low": 0.5,
        "gate/segment/a_b _c__high": 1.5,
        "gate/finite": 2.0,
        "gate/finite_passed": 0.0,
    }
    shown = to_table(made)
    assert shown[0]["interval"] == "+0.5000 to +1.5000"
    assert (shown[1]["passed"], shown[1]["bound"]) == ("no", "0")
