import numpy as np
import pyarrow as pa
import pytest

from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.registry.gate import load_check
from tasks.runtime import storage
from tests.support.model_pair import ModelPair

SETTINGS = GateConfig(load_check="none")


def test_a_version_that_does_not_load_elsewhere_is_refused(
    pair: ModelPair, strong: TableDensity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(uri: str, rows: pa.Table, *, clean: bool) -> np.ndarray:
        return strong.log_prob(rows) + 0.1

    def broken(uri: str, rows: pa.Table, *, clean: bool) -> np.ndarray:
        raise RuntimeError("No module named 'tasks'")

    about = storage.read_json(f"{pair.prepared}/_manifest.json")
    config = GateConfig(load_check="process")
    for program, said in (
        (other, "differ by at most 1.0e-01"),
        (broken, "No module named"),
    ):
        monkeypatch.setattr(load_check.isolated_load, "log_prob", program)
        (check,) = load_check.check_loads(strong, "uri", pair.prepared, about, config)
        assert not check.passed
        assert said in check.remark
