import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.config.gate import GateConfig
from tasks.registry.gate import cost

SETTINGS = GateConfig(load_check="none")


def test_a_slow_or_large_model_is_refused(strong: TableDensity, rows: pa.Table) -> None:
    check = cost.check_latency(strong, strong, rows, GateConfig(max_latency_ratio=1e-6))
    assert not check.passed
    # The same model takes the same time, within what a busy machine adds.
    assert cost.check_latency(
        strong, strong, rows, GateConfig(max_latency_ratio=5)
    ).passed
    assert not cost.check_size([500, 100], SETTINGS).passed
    assert cost.check_size([300, 100], SETTINGS).passed
