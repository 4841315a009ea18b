from pathlib import Path

import pytest

from tasks.config.load import RENAMED, load
from tasks.config.root import Config


@pytest.mark.parametrize("old", RENAMED)
def test_a_renamed_key_names_its_successor(old: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("{name: a, data: {path: p, sequence: {key: k}}}")
    with pytest.raises(ValueError, match=f"{old}: unknown key .*to {RENAMED[old]}\\)"):
        load(path, {old: 1})


@pytest.mark.parametrize("old", RENAMED)
def test_a_successor_exists(old: str) -> None:
    *sections, _ = old.split(".")
    section = Config.model_validate({"name": "a", "data": {"path": "p"}})
    if sections == ["data", "sequence"]:
        fields = {"key", "order_by"}
    elif not sections:
        fields = set(Config.model_fields)
    else:
        fields = set(type(getattr(section, sections[0])).model_fields)
    assert RENAMED[old] in fields
