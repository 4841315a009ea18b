import numpy as np

from ar_models.density.table_density import TableDensity
from ar_models.scoring.choices import DISTANCES
from ar_models.scoring.robust_scale import COMPONENTS, LIKELIHOODS
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

    middle, unit = usual("density")
    np.testing.assert_allclose(found, np.max(each, axis=0) * unit + middle, atol=1e-3)
    # Not one of them alone, and not distances or likelihoods alone.
    winners = {COMPONENTS[k] for k in np.argmax(each, axis=0)}
    assert winners & set(DISTANCES)
    assert winners - set(DISTANCES)


def test_a_model_without_stored_rows_combines_likelihoods(
    learned: TableDensity,
) -> None:
    kept = {n: v for n, v in learned.calibration.items() if n not in DISTANCES}
    earlier = TableDensity(learned.encoder, learned.model, kept)
    rows = awkward_table(100, seed=1)
    encoded = learned.encoder.encode(rows)
    assert tuple(earlier.scales) == LIKELIHOODS
    each = []
    for name, scale in earlier.scales.items():
        scores = score_batch(learned.model, encoded, name).anomaly_score
        each.append((scores - scale.median) / scale.tail)
    found = score_table(earlier, rows, statistic="combined")["anomaly_score"]
    unit = earlier.scales["excess"]
    expected = np.max(each, axis=0) * unit.tail + unit.median
    np.testing.assert_allclose(found.to_numpy(), expected, atol=1e-3)
