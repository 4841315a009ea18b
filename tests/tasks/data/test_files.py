import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.data.datasets import open_dataset
from tasks.data.files import damage_of
from tasks.runtime import storage
from tests.support.parquet import read_rows, write_months, write_parquet


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("data/month=[1-9]", [1, 2]),
        ("data/month=1*/part-?.parquet", [1, 10, 12]),
        ("data/**/part-0.parquet", [1, 2, 10, 12]),
        ("data/month=2", [2]),
        ("data/month=2/part-0.parquet", [2]),
        ("d*/month=1[0-2]/*", [10, 12]),
    ],
)
def test_a_glob_names_files_or_folders(
    tmp_path: Path, pattern: str, expected: list[int]
) -> None:
    write_months(tmp_path / "data", [1, 2, 10, 12])
    dataset = open_dataset(str(tmp_path / pattern), rows_per_fragment=100)
    found = read_rows(dataset).column("month").unique().to_pylist()
    assert found == expected


def test_hidden_and_unfinished_names_do_not_count(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    for name in ("_SUCCESS", ".a.crc", f"{storage.TEMPORARY}b.parquet", "c.tmp"):
        (tmp_path / name).write_text("no Parquet")
    write_parquet(tmp_path / "_old" / "b.parquet")
    assert open_dataset(str(tmp_path), rows_per_fragment=9).files == ("a.parquet",)


def cut(path: Path, keep: float) -> None:
    """Truncate a file to a share of its bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("a,b\n1,2\n" * 9), "is not a Parquet file"),
    (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    (lambda path: cut(path, 0.7), "is a truncated Parquet file"),
]


@pytest.mark.parametrize("spoil, message", FAULTS)
def test_a_file_that_cannot_be_read_stops_or_is_set_aside(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    write_parquet(tmp_path / "a.parquet")
    spoil(write_parquet(tmp_path / "b.parquet"))
    with pytest.raises(ValueError, match=f"b.parquet: {message}.*quarantine"):
        open_dataset(str(tmp_path), rows_per_fragment=9)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9, on_bad_file="quarantine")
    assert dataset.files == ("a.parquet",)
    assert [b.name for b in dataset.bad_files] == ["b.parquet"]
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ValueError, match=r"none of its 1 files can be read \(.+: "):
        open_dataset(str(tmp_path), rows_per_fragment=9, on_bad_file="quarantine")


def test_a_damaged_footer_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    content = bytearray(path.read_bytes())
    content[-40:-8] = b"\xff" * 32
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.parquet: is damaged"):
        open_dataset(str(path), rows_per_fragment=9)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    path.chmod(0)
    with pytest.raises(PermissionError, match="a.parquet: no permission"):
        open_dataset(str(path), rows_per_fragment=9)


def test_refused_reading_is_no_fault_of_the_content() -> None:
    refused = PermissionError(13, "Permission denied")
    assert damage_of(refused) is None
    assert damage_of(OSError("AWS Error NETWORK_CONNECTION")) is None
    assert damage_of(OSError("Unexpected end of stream")) is not None
    assert damage_of(pa.ArrowInvalid("x\ny")) == "x"


@pytest.mark.parametrize("name", ["nowhere", "nowhere*", "empty", "empty/*"])
def test_where_nothing_stands_nothing_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/{name.split('*')[0]}"):
        open_dataset(str(tmp_path / name), rows_per_fragment=9)
