"""Probabilities of predicates about rows, one or a file of them."""

import time
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ar_models.density.predicates import divided
from ar_models.density.queries import DRAWS, Answer, Questions
from tasks.runtime import model_store, storage

SCHEMA = pa.schema(
    [
        ("predicate", pa.string()),
        ("given", pa.string()),
        ("probability", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("exact", pa.bool_()),
        ("effective", pa.float64()),
    ]
)
"""Columns of the file with the answers."""


@dataclass(frozen=True, kw_only=True)
class AnsweredQuestion(Answer):
    """A question and its answer.

    Attributes:
        predicate: The predicate.
        given: What was known of the row; empty if nothing.
    """

    predicate: str
    given: str


@dataclass(frozen=True)
class AskResult:
    """The outcome of asking for probabilities.

    Attributes:
        answers: The answers, in the order of the questions.
        path: Parquet file with the answers; None if none was written.
        seconds: Wall-clock time of the call.
    """

    answers: tuple[AnsweredQuestion, ...]
    path: str | None
    seconds: float


def ask(
    model: str,
    questions: list[tuple[str, str]],
    output: str | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> AskResult:
    """Return the probabilities of predicates, each given another one.

    Args:
        model: Directory of a saved `TableDensity`.
        questions: Predicates and what is given, see `ar_models.density.predicates`.
        output: Parquet file for the answers, local or S3; None: not written.
        draws: Approximate number of draws per question.
        seed: Random seed.

    Raises:
        ValueError: A predicate cannot be read, or what is given is never true.
    """
    began = time.monotonic()
    asked = Questions(model_store.load(model), draws)
    answers = []
    for predicate, given in questions:
        found = asked.ask(predicate, given, seed=seed)
        answers.append(
            AnsweredQuestion(**vars(found), predicate=predicate, given=given)
        )
    if output is not None:
        table = pa.Table.from_pylist([vars(answer) for answer in answers], SCHEMA)
        with storage.publish(output) as file:
            pq.write_table(table, file)
    return AskResult(tuple(answers), output, time.monotonic() - began)


def read_questions(path: str) -> list[tuple[str, str]]:
    """Read questions from a text file, one per line.

    Args:
        path: The file, local or S3. Empty lines and lines that start with # are
            skipped; a line is `PREDICATE` or `PREDICATE given PREDICATE`.

    Raises:
        ValueError: There are none.
    """
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_stream(inner) as stream:
        text = stream.read().decode()
    lines = [line.strip() for line in text.splitlines()]
    found = [divided(line) for line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError(f"{path}: has no questions; write one predicate per line")
    return [(asked.strip(), given.strip()) for asked, given in found]
