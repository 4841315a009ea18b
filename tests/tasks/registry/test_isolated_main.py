"""Tests of the program that loads a version in a separate process."""

import shutil
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest

from tasks.registry import isolated_load, isolated_main
from tasks.registry.promotion import Promotion
from tests.support.model_pair import ModelPair


def test_imports_of_the_project_are_blocked() -> None:
    blocker = isolated_main.ImportBlocker()
    assert blocker.find_spec("ar_models.families", None) is None
    with pytest.raises(ImportError, match="must not import tasks.runtime"):
        blocker.find_spec("tasks.runtime", None)


def test_a_version_runs_its_own_code_or_none(
    first: Promotion, pair: ModelPair, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    mlflow.artifacts.download_artifacts("models:/alone/1", dst_path=str(folder))
    shutil.rmtree(folder / "code" / "ar_models")
    rows = pq.read_table(f"{pair.prepared}/test").slice(0, 2)
    with pytest.raises(RuntimeError, match=r"No module named|code came from"):
        isolated_load.log_prob(str(folder), rows, clean=False)
