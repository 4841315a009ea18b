import numpy as np

from ar_models.density.table_density import TableDensity
from ar_models.scoring.choices import DISTANCES
from ar_models.scoring.robust_scale import COMPONENTS
from ar_models.scoring.statistics import score_batch
from tests.support.densities import awkward_table, score_table


def test_the_combination_is_the_greatest_on_one_scale(learned: TableDensity) -> None:
    rows = awkward_table(300, seed=1)
    encoded = learned.encoder.encode(rows)

    def usual(name: str) -> tuple[float, float]:
        own = np.sort(learned.calibration[name])
        upper = np.quantile(own, 0.75)
        return float(np.median(own)), float((own[own >= upper] - upper).mean())

    each = []
    for name in COMPONENTS:
        scores = score_batch(
            learned.model, encoded, name, nearness=learned.nearness
        ).anomaly_score
        middle, beyond = usual(name)
        each.append((scores - middle) / beyond)

    found = score_table(learned, rows, statistic="combined")["anomaly_score"].to_numpy()

    middle, unit = usual("excess")
    np.testing.assert_allclose(found, np.max(each, axis=0) * unit + middle, atol=1e-3)
    # Not one of them alone, and not distances or likelihoods alone.
    winners = {COMPONENTS[k] for k in np.argmax(each, axis=0)}
    assert winners & set(DISTANCES)
    assert len(winners - set(DISTANCES)) > 1
