import numpy as np

from ar_models.density.table_density import TableDensity
from tests.support.densities import sample_table, score_table


def test_p_values_of_fresh_rows_are_uniform_within_segments(
    density: TableDensity,
) -> None:
    rows = sample_table(density, 6000, seed=6)
    scored = score_table(
        density, rows, calibrate_by="carrier", min_segment_rows=300, explain="none"
    )
    carriers = np.array(rows["carrier"].to_pylist())
    segments = density.segments("carrier", 300)
    assert sum(entry.own for entry in segments) >= 2
    for entry in segments:
        p = scored["p_value"].to_numpy()[carriers == entry.value]
        count = entry.calibration_rows
        if entry.own:
            p = np.sort(p)
            distance = np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max()
            # Kolmogorov and Smirnov's for two samples: once in 10,000 seeds each.
            assert distance < 2.23 * np.sqrt(1 / len(p) + 1 / count)
