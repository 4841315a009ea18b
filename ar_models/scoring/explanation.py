"""Explanations: the columns that make a row anomalous, and the expected values."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.distributions.conditionals import Conditionals
from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.expected_dates import expected_parts
from ar_models.scoring.expected_derived import expected_derived, rate_text
from ar_models.scoring.expected_values import SMALL, codes, narrow, quantiles
from ar_models.scoring.statistics import Scores
from ar_models.scoring.tail_probability import tail_probability
from ar_models.tables.arrow import family, python_values
from ar_models.tables.calendar_column import CalendarColumn
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.derivations import parent_cells
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import Encoded, TableEncoder
from ar_models.tables.formulas.formula import Cells, Formula
from ar_models.tables.inequality import violations
from ar_models.tables.list_cells import element_types
from ar_models.tables.list_column import ListColumn
from ar_models.tables.real_column import RealColumn

EXPLANATION = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("contribution", pa.float64()),
            ("tail_probability", pa.float64()),
            ("value", pa.string()),
            ("expected", pa.string()),
        ]
    )
)
"""Type of an explanation: the columns that contribute most (nats), largest first.

The tail probability is that of a value at least as extreme, given the columns before
it; see `ar_models.scoring.tail_probability`.
"""

LONGEST = 100
"""Maximum number of characters of a list or text that are shown."""


@torch.inference_mode()
def explain(
    encoder: TableEncoder,
    model: AutoregressiveModel,
    rows: pa.Table,
    encoded: Encoded,
    scores: Scores,
    *,
    columns: int,
) -> pa.Array:
    """Explain the anomaly scores of rows.

    Args:
        encoder: Encoder of the rows.
        model: Model of their variables.
        rows: The n rows.
        encoded: Variables of the rows.
        scores: Scores of the rows.
        columns: Maximum number of columns that an explanation names.

    Returns:
        An array (n,) of type `EXPLANATION`.
    """
    contributions = scores.contributions
    size = min(columns, contributions.shape[1])
    ranks = np.argsort(-contributions, axis=1, kind="stable")[:, :size]
    values = np.empty(ranks.shape, dtype=object)
    usual = np.empty(ranks.shape, dtype=object)
    for j in np.unique(ranks):
        at = ranks == j
        places = np.flatnonzero(at.any(axis=1))
        cells = rows.column(encoder.names[j]).take(pa.array(places))
        shown = short if isinstance(encoder.columns[j], ListColumn) else text
        values[at] = [shown(cell) for cell in python_values(cells)]
        usual[at] = expected(encoder, model, rows, scores, int(j), places)
        broken = violated_texts(encoder, rows.take(pa.array(places)), int(j))
        usual[at] = [
            f"{a}; {b}" if b else a for a, b in zip(usual[at], broken, strict=True)
        ]
    tails = tail_probability(encoder.variables, scores.conditionals, encoded)
    fields = [
        pa.array(np.asarray(encoder.names, dtype=object)[ranks.ravel()], pa.string()),
        pa.array(np.take_along_axis(contributions, ranks, axis=1).ravel()),
        pa.array(np.take_along_axis(tails, ranks, axis=1).ravel()),
        pa.array(values.ravel(), pa.string()),
        pa.array(usual.ravel(), pa.string()),
    ]
    entries = pa.StructArray.from_arrays(fields, fields=list(EXPLANATION.value_type))
    offsets = pa.array(size * np.arange(len(ranks) + 1), pa.int32())
    return pa.ListArray.from_arrays(offsets, entries, type=EXPLANATION)


def expected(
    encoder: TableEncoder,
    model: AutoregressiveModel,
    rows: pa.Table,
    scores: Scores,
    j: int,
    places: NDArray[np.int64],
) -> list[str]:
    """Describe the expected values of column `j`, given those before it, in some rows.

    The text names codes with their probabilities, or the median and the 90 % interval
    of a number in the units of the column; of a date or time, its most anomalous part.
    Of a derived column it names the constraints.

    Args:
        encoder: Encoder of the rows.
        model: Model of their variables.
        rows: The rows.
        scores: Scores of the rows.
        j: Index of the column.
        places: Numbers of the rows to describe, (n,).
    """
    column = encoder.columns[j]
    if isinstance(column, ListColumn):
        return most_anomalous_places(encoder, column, j, scores, places)
    if not isinstance(column, DerivedColumn):
        return expected_plain(encoder, model, scores, j, places)
    at = torch.from_numpy(places).to(scores.x.device)
    gate = narrow(scores.conditionals, [encoder.span(j).start], at)
    shares = np.asarray(gate.probabilities(0).cpu().double().numpy())
    codes = scores.x[at, encoder.span(j).start].cpu().numpy()
    plain = np.full(len(places), "", dtype=object)
    if column.has_exceptions:
        likely = shares[:, 0] >= SMALL
        plain[likely] = expected_plain(encoder, model, scores, j, places[likely])
    cells = parent_cells(column, rows.take(pa.array(places)), encoder.schema)
    values = [value_texts(f, cells, encoder.type_of(j)) for f in column.formulas]
    return expected_derived(column, shares, codes, values, list(plain), small=SMALL)


def violated_texts(encoder: TableEncoder, rows: pa.Table, j: int) -> list[str]:
    """Describe the inequalities that rows violate and that count for column `j`.

    Args:
        encoder: Encoder of the rows.
        rows: The n rows.
        j: Index of the column.

    Returns:
        Texts (n,), empty where no inequality is violated.
    """
    texts = [""] * rows.num_rows
    own = [i for i in encoder.inequalities if i.charged(encoder.names) == j]
    if not own:
        return texts
    violated = violations(own, rows, encoder.schema)
    for row, k in np.argwhere(violated).tolist():
        text = f"{own[k].describe()}, which {rate_text(own[k].rate)}, is violated"
        texts[row] = f"{texts[row]}; {text}" if texts[row] else text
    return texts


def value_texts(formula: Formula, cells: Cells, type: pa.DataType) -> list[str | None]:
    """Describe what a formula gives in each row, None where it is undefined."""
    values = formula.evaluate(cells, type)
    undefined = formula.undefined(cells, values)
    return [
        None if off else text(value)
        for value, off in zip(python_values(values), undefined, strict=True)
    ]


def expected_plain(
    encoder: TableEncoder,
    model: AutoregressiveModel,
    scores: Scores,
    j: int,
    places: NDArray[np.int64],
) -> list[str]:
    """Describe the expected values of column `j` where no constraint of it holds.

    Args:
        encoder: Encoder of the rows.
        model: Model of their variables.
        scores: Scores of the rows.
        j: Index of the column.
        places: Numbers of the rows to describe, (n,).
    """
    column, span = encoder.columns[j], encoder.span(j)
    value = encoder.value_variable(j) - span.start
    lead = value - column.plain.value  # 1 after a gate
    labels = labels_of(encoder, j)
    at = torch.from_numpy(places).to(scores.x.device)
    given = scores.x[at]
    own = narrow(scores.conditionals, range(span.start, span.stop), at)
    shares = own.probabilities(lead) if value > lead else None
    other = (given[:, span.start : span.start + value] != 0).any(dim=1)
    if shares is not None and not lead:
        other &= shares[:, 0] >= SMALL
    if bool(other.any()):
        # The conditional of a value holds in the regular state only, and all of them
        # where no constraint holds, so they are computed again with that state.
        regular = given[other]
        regular[:, span] = torch.nan
        regular[:, span.start : span.start + value] = 0
        again = narrow(
            model.conditionals(regular),
            range(span.start, span.stop),
            torch.arange(len(regular), device=given.device),
        )
        own.parameters[other] = again.parameters
        if lead and value > lead:
            shares = own.probabilities(lead)
    if shares is not None:
        return with_states(shares, labels, numbers(encoder, j, own, given[:, span]))
    if labels:
        return codes(own.probabilities(value), labels)
    return numbers(encoder, j, own, given[:, span])


def numbers(encoder: TableEncoder, j: int, own: Conditionals, x: Tensor) -> list[str]:
    """Describe the expected values of a column of numbers.

    Args:
        encoder: Encoder of the column.
        j: Index of the column.
        own: Conditionals of its variables.
        x: Variables of the column, (n, variables).
    """
    column = encoder.columns[j].plain
    if not isinstance(column, CalendarColumn):
        return main_values(encoder, j, own)
    lead = x.shape[1] - len(column.variables)  # 1 after a gate
    rows = torch.arange(len(x), device=x.device)
    return expected_parts(
        column, narrow(own, range(lead, x.shape[1]), rows), x[:, lead:]
    )


def most_anomalous_places(
    encoder: TableEncoder,
    column: ListColumn,
    j: int,
    scores: Scores,
    places: NDArray[np.int64],
) -> list[str]:
    """Describe the most anomalous position of each list and its expected value."""
    span = encoder.span(j)
    at = torch.from_numpy(places).to(scores.x.device)
    x = scores.x[at]
    every = narrow(scores.conditionals, range(span.start, span.stop), at)
    excess = -every.log_prob(x[:, span]) - every.entropy()
    excess = excess.masked_fill(x[:, span].isnan(), -torch.inf)
    most_anomalous = excess.argmax(dim=1)
    texts = np.full(len(places), "nothing like it", dtype=object)
    for i in most_anomalous[excess.isfinite().any(dim=1)].unique().tolist():
        rows = (most_anomalous == i) & excess.isfinite().any(dim=1)
        own = narrow(scores.conditionals, [span.start + i], at[rows])
        found = zip(
            _values_at(encoder, column, j, i, x[rows, span.start + i]),
            _expected_at(encoder, column, j, i, own),
            strict=True,
        )
        where = column.variables[i].name.removeprefix(f"{column.name}.")
        place = column.place_of(i)
        if place is not None:
            name = column.elements[place[1]].variables[place[2]].name
            name = name.removeprefix(".")
            where = column.name_of(place[0]) + (f" {name}" if name else "")
        texts[rows.cpu().numpy()] = [
            f"{where}: {usual}, not {value}" for value, usual in found
        ]
    return list(texts)


def _values_at(
    encoder: TableEncoder, column: ListColumn, j: int, i: int, x: Tensor
) -> list[str]:
    """Format values of variable `i` of a column of lists."""
    place = column.place_of(i)
    if place is None:
        values = x.cpu().numpy()
        if i == 0 and column.states:
            return [column.states[int(code)] for code in values]
        return [f"{value:.0f}" for value in values]
    element = column.elements[place[1]]
    if place[2] != element.value:
        labels = element.labels(_element_type(encoder, j, place[1]))
        codes = x.long().tolist()
        known = len(labels) > 0 and element.value != 0
        return [labels[code] if known else str(code) for code in codes]
    return _element_texts(encoder, column, j, place[1], x.cpu().numpy())


def _expected_at(
    encoder: TableEncoder, column: ListColumn, j: int, i: int, own: Conditionals
) -> list[str]:
    """Describe the expected values of variable `i` of a column of lists."""
    variable, count = column.variables[i], len(own.parameters)
    if variable.kind in ("binary", "categorical"):
        every = torch.arange(variable.size, dtype=torch.float32)
        return codes(own.probabilities(0), _values_at(encoder, column, j, i, every))
    middle = torch.full((count, 1), 0.5, device=own.parameters.device)
    median = own.quantile(middle).squeeze(1)
    return [f"about {v}" for v in _values_at(encoder, column, j, i, median)]


def _element_texts(
    encoder: TableEncoder,
    column: ListColumn,
    j: int,
    field: int,
    values: NDArray[np.float32],
) -> list[str]:
    """Format elements of a list, characters in quotes."""
    of = _element_type(encoder, j, field)
    known = column.elements[field].values_of(values, of)
    if family(encoder.type_of(j)) == "text":
        return ["a rare one" if v is None else repr(chr(v)) for v in known.to_pylist()]
    return texts_of(known)


def _element_type(encoder: TableEncoder, j: int, field: int) -> pa.DataType:
    types = element_types(encoder.type_of(j))
    assert types is not None
    return list(types.values())[field]


def main_values(encoder: TableEncoder, j: int, own: Conditionals) -> list[str]:
    """Describe the likeliest codes, or the quantiles, of the main value variable."""
    column = encoder.columns[j]
    variable = column.variables[column.value]
    if variable.kind in ("binary", "categorical"):
        known = encoder.decode_column(j, np.arange(variable.size))
        return codes(own.probabilities(column.value), texts_of(known))
    return quantiles(
        own, column.value, lambda values: texts_of(encoder.decode_column(j, values))
    )


def with_states(
    shares: Tensor, labels: Sequence[str], regular: Sequence[str]
) -> list[str]:
    """Put expected states before expected regular values.

    Args:
        shares: Probabilities of the states, (n, states), of which 0 is regular.
        labels: Names of the states.
        regular: Expected values in the regular state, (n,).
    """
    special = codes(shares[:, 1:], labels[1:])
    return [
        number
        if share > 1 - SMALL
        else f"{states}, else {number}"
        if share >= SMALL
        else states
        for share, states, number in zip(
            shares[:, 0].tolist(), special, regular, strict=True
        )
    ]


def labels_of(encoder: TableEncoder, j: int) -> list[str]:
    """Return the names of the codes of column `j`; [] if it has no codes."""
    column, labels = encoder.columns[j].plain, encoder.labels(j)
    if isinstance(column, RealColumn):
        return labels[: len(column.states)] + [text(atom) for atom in column.atoms]
    if isinstance(column, CodeColumn) and family(encoder.type_of(j)) == "real":
        known = [text(float(value)) for value in column.values]
        return known + labels[len(known) :]
    return labels


def texts_of(array: pa.Array) -> list[str]:
    """Format expected values."""
    return [text(value, digits=4) for value in python_values(array)]


def short(value: Any) -> str:  # any value that Arrow gives
    """Format a list or a text, truncated if it is long."""
    whole = text(value)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]} …"


def text(value: Any, digits: int = 6) -> str:  # any value that Arrow gives
    """Format a value in one line, reals to a number of significant digits."""
    if value is None:
        return "missing"
    if isinstance(value, Decimal):
        exact = f"{value:f}"
        many = len(exact.partition(".")[2]) > digits
        return exact.rstrip("0").rstrip(".") if many else exact
    if not isinstance(value, float):
        return "↵".join(str(value).splitlines()) or str(value)
    if 10**digits <= abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"
