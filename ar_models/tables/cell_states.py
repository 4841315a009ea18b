"""State variables, which say which special value, if any, a cell holds."""

import numpy as np

from ar_models.tables.columns import IN_SUPPORT, MISSING, SPECIALS, UNSEEN


def special_states(values: np.ndarray) -> np.ndarray | None:
    """Return states of NaN and infinities: 1 + their index in `SPECIALS`, else 0.

    None stands for the states of finite values alone.
    """
    finite = np.isfinite(values)
    if finite.all():
        return None
    states = np.zeros(len(values), np.int64)
    states[np.isnan(values)] = 1 + SPECIALS.index("nan")
    states[values == np.inf] = 1 + SPECIALS.index("+inf")
    states[values == -np.inf] = 1 + SPECIALS.index("-inf")
    return states


def place_states(
    x: np.ndarray,
    out_of_support: np.ndarray,
    states: np.ndarray | None,
    missing: np.ndarray | None,
    names: tuple[str, ...],
    atoms: int = 0,
) -> np.ndarray | None:
    """Write the codes of the state variable and the reasons for being out of support.

    Args:
        x: (n, variables), of which column 0 is the state if there are `names`.
        out_of_support: (n,), completed here; special states of training are in support.
        states: (n,) 0 regular, 1 + the place in `SPECIALS`, then the atoms; None: all
            regular.
        missing: (n,) true where null, or None.
        names: Names of the codes; () if the column has no state variable.
        atoms: Number of atoms.

    Returns:
        (n,) true where the state is regular, or None if it is everywhere.
    """
    if missing is not None:
        states = np.zeros(len(x), np.int64) if states is None else states
        states = np.where(missing, 1 + SPECIALS.index("missing"), states)
    if states is None:
        if names:
            x[:, 0] = 0
        return None
    table = np.array(
        [0]
        + [names.index(s) if s in names else -1 for s in SPECIALS]
        + list(range(len(names), len(names) + atoms))
    )
    codes = table[states]
    reasons = np.array(
        [IN_SUPPORT, MISSING, MISSING, UNSEEN, UNSEEN] + [IN_SUPPORT] * atoms, np.int8
    )
    special = states > 0
    out_of_support[special] = np.where(codes < 0, reasons[states], IN_SUPPORT)[special]
    if names:
        x[:, 0] = codes
    return ~special


def fill_states(
    values: np.ndarray,
    codes: np.ndarray,
    out_of_support: np.ndarray,
    names: tuple[str, ...],
) -> np.ndarray:
    """Write NaN and infinities into `values` by their codes; return the nulls (n,)."""
    filling = {"nan": np.nan, "+inf": np.inf, "-inf": -np.inf}
    for code, name in enumerate(names):
        if name in filling:
            values[codes == code] = filling[name]
    missing = codes == names.index("missing") if "missing" in names else False
    nulls: np.ndarray = out_of_support | missing
    return nulls
