"""Answers to one question, and to a file of them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ar_models.density.saved_form import save_density
from tasks.inference import ask
from tests.support.densities import random_density


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a model of the default family and return its folder."""
    folder = tmp_path_factory.mktemp("asked")
    save_density(random_density("made"), folder)
    return str(folder)


def test_a_file_of_questions_becomes_a_file_of_answers(
    model: str, tmp_path: Path
) -> None:
    file = tmp_path / "questions.txt"
    file.write_text(
        "# share of one carrier\ncarrier = 'UA'\n\n"
        "delay > 0 given carrier = 'UA' and delay is not null\n"
    )
    questions = ask.read_questions(str(file))
    assert questions == [
        ("carrier = 'UA'", ""),
        ("delay > 0", "carrier = 'UA' and delay is not null"),
    ]
    path = str(tmp_path / "answers.parquet")

    result = ask.ask(model, questions, path, draws=1024)

    rows = pq.read_table(path).to_pylist()
    assert rows == [vars(answer) for answer in result.answers]
    assert rows[0]["exact"] and rows[0]["effective"] is None
    assert 0 < rows[1]["low"] < rows[1]["probability"] < rows[1]["high"] < 1
    again = ask.ask(model, questions, draws=1024)
    assert again.answers == result.answers
    assert ask.ask(model, questions, draws=1024, seed=1).answers[1] != rows[1]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"none.txt: has no questions"):
        ask.read_questions(str(tmp_path / "none.txt"))
