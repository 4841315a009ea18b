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


@pytest.mark.parametrize("name", ["2024", "2024-01-31", "no", "null", "1e5", "007"])
def test_what_yaml_takes_for_another_type_is_text_where_text_is_needed(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    columns = f"columns: {{{name}: {{kind: real}}}}"
    path.write_text(f"name: {name}\ndata: {{path: p, id: [a, {name}], {columns}}}")
    config = load(path)
    assert (config.name, config.data.id) == (name, ("a", name))
    assert list(config.data.columns) == [name]
    assert load(path, {"name": 2025}).name == "2025"


def test_text_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\ndata: {path: p}\ntrain: {seed: x}")
    with pytest.raises(ValueError, match="train.seed: .*'x'"):
        load(path)


def test_a_secret_is_not_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: a\ndata: {path: p}\nalerts: {webhook: 'ftp://x/hidden'}")
    with pytest.raises(ValueError, match="alerts.webhook: must be a URL") as error:
        load(path)
    assert "hidden" not in str(error.value)
