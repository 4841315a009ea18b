"""The page about the fidelity of synthetic rows."""

import pyarrow as pa

from ar_models.density.table_density import TableDensity
from ar_models.families.made import MADE
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.encoder import Image, TableEncoder
from ar_models.variables import Variable
from tasks.config.fidelity import FidelityConfig
from tasks.evaluation.fidelity import fidelity
from tasks.evaluation.fidelity import page as fidelity_page
from tasks.evaluation.fidelity.tables import Tables
from tests.support.densities import sample_table


def test_a_block_of_pixels_is_a_row_and_a_picture() -> None:
    pixels = [f"x{i}" for i in range(4)]
    columns = tuple(coded(name) for name in pixels)
    schema = pa.schema([pa.field(name, pa.int64()) for name in pixels])
    encoder = TableEncoder(columns, (), schema, (Image(tuple(pixels), (2, 2, 1)),))
    density = TableDensity(
        encoder, MADE(encoder.variables, MADE.Settings(hidden=8)).eval()
    )
    real = sample_table(density, 200, seed=1)
    tables = Tables(real, real, real.slice(0, 100))
    found = fidelity.measure(tables, density, FidelityConfig())

    page = fidelity_page.render("key", "shapes", density, (real, real), found)

    assert "<title>shapes: synthetic rows</title>" in page
    assert "<h2>Images</h2>" in page and page.count("<img") == 1
    (named,) = (line for line in page.splitlines() if "least accurate: x" in line)
    assert "x0 … x3" in named


def coded(name: str) -> CodeColumn:
    """Return a binary column."""
    variable = Variable(name, "binary", 0, size=2)
    return CodeColumn(name, "binary", "int64", 10, (variable,), (0, 1))
