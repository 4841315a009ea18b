from pathlib import Path

import pytest

from tasks.reports import pages
from tasks.runtime import storage


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (pages.format_nats(99.9996), "100.000"),
        (pages.format_nats(-123.45), "-123.5"),
        (pages.format_count(1234567), "1 234 567"),
        (pages.format_effect_size(None), "–"),
        (pages.format_effect_size({"value": 0.12345}), "0.123"),
        (pages.format_change([0.0, 0.0]), "–"),
        (pages.format_change([0.1, 0.25]), "10.0% → 25.0%"),
    ],
)
def test_numbers_are_formatted(found: str, expected: str) -> None:
    assert found == expected


def test_a_page_and_its_data_are_published_together(tmp_path: Path) -> None:
    page = "<!doctype html>\n<!-- job 0123 -->\n"
    folder = str(tmp_path)
    entries = pages.publish(folder, "a.json", {"x": 1}, "a.html", page)
    assert [entry["path"] for entry in entries] == ["a.json", "a.html"]
    assert storage.read_json(storage.join(folder, "a.json")) == {"x": 1}
    assert pages.read_job_key(storage.join(folder, "a.html")) == "0123"
    assert pages.read_job_key(storage.join(folder, "a.json")) is None
