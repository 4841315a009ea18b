"""Tests of aliases of registered versions."""

from pathlib import Path

from mlflow import MlflowClient

from tasks.registry import aliases


def test_a_new_champion_makes_the_old_one_previous(tmp_path: Path) -> None:
    client, name = MlflowClient(), "aliased"
    assert aliases.number_by_alias(client, name, aliases.CHAMPION) is None
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, str(tmp_path))
    assert aliases.version_by_alias(client, name, aliases.CHAMPION) is None
    client.set_registered_model_alias(name, aliases.CHALLENGER, "2")
    for version in ("1", "2"):
        aliases.set_champion(client, name, version)
    found = client.get_registered_model(name).aliases
    assert {k: str(v) for k, v in found.items()} == {"champion": "2", "previous": "1"}
