"""Expected values of derived columns, which name the constraints."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ar_models.scoring.expected_values import percent
from ar_models.tables.derived_column import DerivedColumn


def expected_derived(
    column: DerivedColumn,
    shares: NDArray[np.float64],
    gate: NDArray[np.float32],
    values: Sequence[Sequence[str | None]],
    plain: Sequence[str],
    *,
    small: float,
) -> list[str]:
    """Describe the expected values of a derived column.

    The text names the constraints that are likely in a row, with their values: of a row
    that violates them, with the share of training rows in which they hold; else with
    their probabilities.

    Args:
        column: The column.
        shares: Probabilities of the codes of the gate, (n, codes).
        gate: The gate, (n,), NaN where out of support.
        values: What each candidate gives in each row, as text; None if undefined.
        plain: Expected values where no constraint holds, (n,), as text.
        small: Probability below which a constraint is not named.
    """
    violated = column.numbers(gate) <= 0
    lead = 1 if column.has_exceptions else 0
    texts = []
    for row, plain_text in enumerate(plain):
        own = shares[row, lead:]
        named = []
        for k in np.argsort(-own, kind="stable").tolist():
            value = values[k][row]
            if value is None or own[k] < small:
                continue
            how = rate_text(column.rate(k)) if violated[row] else percent(own[k])
            named.append(f"{value} = {column.formulas[k].describe()} ({how})")
        free = shares[row, 0] if lead else 0.0
        if lead and plain_text and (free >= small or not named):
            named.append(f"else {plain_text}" if named else plain_text)
        if not named:
            likeliest = column.formulas[int(own.argmax())]
            named = [f"{likeliest.describe()} ({likeliest.undefined_reason})"]
        texts.append(", ".join(named))
    return texts


def rate_text(rate: float) -> str:
    """Describe the share of training rows in which a constraint holds."""
    if rate == 1:
        return "holds in all training rows"
    share = f"{100 * rate:.4g}"
    return f"holds in {'>99.99' if share == '100' else share} % of the training rows"
