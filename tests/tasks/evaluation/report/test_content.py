from typing import Any

from tasks.evaluation.report import content

EVALUATION: dict[str, Any] = {
    "confidence": 0.95,
    "is_bound": True,
    "nll": 2.0,
    "nll_interval": (1.5, 2.5),
    "gain": 1.0,
    "gain_interval": (0.5, 1.5),
    "bits_per_dim": 0.75,
    "dim": 4.0,
    "p_value_ks": None,
    "calibration_rows": 600,
    "detection": None,
}


def test_tiles_show_what_is_known() -> None:
    first, *others = content.tiles(EVALUATION)
    assert first.value == "at most 2.000 nats"
    assert first.remark == "per row; 95% interval 1.500 to 2.500"
    assert [tile.name for tile in others] == ["Gain", "Bits per dimension"]
    detection = {"auroc": 0.9, "auroc_interval": (0.8, 1.0), "positives": 3, "rows": 9}
    assert not any(tile.is_fault for tile in content.tiles(EVALUATION))
    wrong = {"p_value_ks": 0.5, "p_value_fault": "p-values are not uniform"}
    (red,) = [t for t in content.tiles({**EVALUATION, **wrong}) if t.is_fault]
    assert (red.value, red.remark) == ("0.500", "p-values are not uniform")
    more = content.tiles({**EVALUATION, "p_value_ks": 0.03, "detection": detection})
    assert [tile.value for tile in more[3:]] == ["0.030", "0.900"]
    assert more[3].remark.endswith("600 calibration rows")
    assert more[4].remark.endswith("3 labelled anomalies in 9 rows")


def test_shares_of_constraints_are_rounded_down() -> None:
    entry = {"column": "total", "formula": "fare + tip", "rows": 30_000}
    profile = {"constraints": [{**entry, "exceptions": e} for e in (0, 1, 12_000)]}
    table = content.constraint_table(profile)
    assert [found["share"] for found in table] == ["100 %", "99.99 %", "60 %"]
    assert [found["exceptions"] for found in table] == [0, 1, 12_000]


def test_constraints_are_shown_with_their_relation() -> None:
    entry = {"column": "a", "formula": "b", "rows": 10, "exceptions": 0}
    profile = {"constraints": [entry, {**entry, "relation": "<="}]}
    table = content.constraint_table(profile)
    assert [each["relation"] for each in table] == ["=", "<="]
