"""Tests that no pickle is loaded, wherever one is put."""

import pickle
import shutil
from pathlib import Path

import pytest

from tasks.runtime import model_store
from tests.support.training import make_trainer


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.evidence,)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """Return the path of the file that a loaded pickle creates."""
    path = tmp_path / "evidence"
    pickle.loads(pickle.dumps(Attack(path)))
    assert path.exists()  # so the attack works
    path.unlink()
    return path


@pytest.mark.parametrize(
    "name",
    [
        "model.json",
        "weights.safetensors",
        "calibration.parquet",
        "nearness.safetensors",
    ],
)
def test_a_pickle_in_place_of_a_file_of_a_model_is_refused(
    small_model: str, tmp_path: Path, evidence: Path, name: str
) -> None:
    folder = Path(shutil.copytree(small_model, tmp_path / "model"))
    (folder / name).write_bytes(pickle.dumps(Attack(evidence)))

    with pytest.raises(ValueError, match=name):
        model_store.load(str(folder))

    assert not evidence.exists()


def test_a_pickle_beside_the_files_of_a_model_is_ignored(
    small_model: str, tmp_path: Path, evidence: Path
) -> None:
    folder = Path(shutil.copytree(small_model, tmp_path / "model"))
    for name in ("data.pkl", "model.pt", "python_model.pkl"):
        (folder / name).write_bytes(pickle.dumps(Attack(evidence)))

    model_store.load(str(folder))

    assert not evidence.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("state.json", "model.safetensors", "best.safetensors"),
        *("optimizer.safetensors", "loss_weights.safetensors"),
    ],
)
def test_a_pickle_in_a_checkpoint_is_not_loaded(
    tmp_path: Path, evidence: Path, name: str
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    make_trainer().save(folder)
    assert (folder / name).exists()
    (folder / name).write_bytes(pickle.dumps(Attack(evidence)))

    with pytest.raises(Exception):  # noqa: B017 # the driver falls back to another one
        make_trainer().load(folder)

    assert not evidence.exists()
