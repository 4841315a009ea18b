"""The state variable of a column, and shares that models start from."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_models.tables.columns import REGULAR, SPECIALS
from ar_models.variables import Variable
from tasks.data.sketches import ListSketch, NumberSketch


def smoothed_shares(counts: Sequence[float]) -> tuple[float, ...]:
    """Return the shares of counts, adding half a row to each so that none is 0."""
    total = sum(counts) + len(counts) / 2
    return tuple((count + 0.5) / total for count in counts)


def state_variable(
    name: str, sketch: NumberSketch | ListSketch, atoms: Mapping[Any, int]
) -> tuple[tuple[str, ...], Variable | None]:
    """Return the states of a column and the variable that distinguishes them.

    Args:
        name: Name of the column.
        sketch: Sketch of its training rows.
        atoms: Values with a state of their own and the number of rows of each.

    Returns:
        The names of the states, without those of atoms, and the variable; empty and
        None if every value is regular.
    """
    tallies = {"missing": sketch.missing}
    regular = sketch.rows - sketch.missing
    if isinstance(sketch, NumberSketch):
        tallies |= sketch.specials
        regular = sketch.regular
    names = (REGULAR, *(s for s in SPECIALS if tallies.get(s)))
    if len(names) == 1 and not atoms:
        return (), None
    regular -= sum(atoms.values())
    counts = [regular, *(tallies[s] for s in names[1:]), *atoms.values()]
    shares = smoothed_shares([max(0, count) for count in counts])
    variable = Variable(
        f"{name}.state", "categorical", 0, size=len(shares), frequencies=shares
    )
    return names, variable
