"""Files appear whole or not at all, and errors say what would do."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.runtime import storage


def test_a_published_file_is_read_back(folder: str) -> None:
    path = storage.join(folder, "deep", "file.json")
    storage.write_json(path, {"rows": [1, 2]})
    assert storage.read_json(path) == {"rows": [1, 2]}
    assert storage.exists(path) and storage.exists(folder)
    assert storage.list_entries(folder) == ["deep"] and storage.list_files(folder) == []
    assert storage.file_sizes(folder) == {"deep/file.json": storage.file_size(path)}
    # printf '{\n  "rows": [\n    1,\n    2\n  ]\n}\n' | sha256sum
    assert storage.checksum(path).startswith("4d5d7a2b")


def test_an_error_in_the_block_publishes_nothing(folder: str) -> None:
    path = storage.join(folder, "file.txt")
    storage.write_json(path, "before")
    with pytest.raises(ZeroDivisionError):
        with storage.publish(path) as unfinished:
            unfinished.write_text("half")
            1 / 0  # noqa: B018
    assert storage.read_json(path) == "before"
    assert storage.list_entries(folder) == ["file.txt"]
    assert not unfinished.exists()


def test_a_file_is_not_seen_before_it_is_whole(folder: str) -> None:
    path = storage.join(folder, "file.txt")
    with storage.publish(path) as unfinished:
        unfinished.write_text("whole")
        assert not storage.exists(path)
        assert storage.list_files(folder) == []
    assert storage.list_files(folder) == ["file.txt"]


def test_deleting_takes_files_and_folders_and_nothing(folder: str) -> None:
    storage.write_json(storage.join(folder, "a", "b.json"), 1)
    storage.write_json(storage.join(folder, "c.json"), 1)
    storage.delete(storage.join(folder, "c.json"))
    assert storage.list_files(folder) == []
    storage.delete(folder)
    storage.delete(folder)
    assert storage.file_sizes(folder) == {}


def test_what_killed_writers_left_is_deleted(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from tasks.runtime import storage
with storage.publish(sys.argv[1]) as unfinished:
    unfinished.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "train" / "part-0.txt"
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60)
    assert done.returncode == -9
    assert len(os.listdir(path.parent)) == 1 and not path.exists()
    (path.parent / "part-1.txt").touch()
    storage.delete_unfinished(str(tmp_path))
    assert os.listdir(path.parent) == ["part-1.txt"]


def test_a_damaged_file_is_named(folder: str) -> None:
    path = storage.join(folder, "file.json")
    with storage.publish(path) as unfinished:
        unfinished.write_text('{"rows":')
    with pytest.raises(ValueError, match=f"^{path}: damaged, not JSON"):
        storage.read_json(path)


def test_a_missing_bucket_is_named(bucket: str) -> None:
    with pytest.raises(OSError, match="'nowhere'.*NO_SUCH_BUCKET"):
        storage.write_json("s3://nowhere/file.json", 1)


def test_a_folder_is_fetched(folder: str, tmp_path: Path) -> None:
    storage.write_json(storage.join(folder, "model", "a.json"), 7)
    local = storage.fetch(storage.join(folder, "model"), tmp_path / "copy")
    assert (local / "a.json").read_text() == "7\n"


@contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """Limit the size of files in the block, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_space_is_one_clear_message_and_leaves_nothing(folder: str) -> None:
    path = storage.join(folder, "part-00000.parquet")
    table = pa.table({"x": [os.urandom(8) for _ in range(10_000)]})
    with pytest.raises(OSError) as caught, limited_file_size(10_000):
        with storage.publish(path) as unfinished:
            pq.write_table(table, unfinished)
    assert str(caught.value).startswith(f"{path}: no space left in /")
    assert "free some and run again" in str(caught.value)
    assert storage.file_sizes(folder) == {}
    assert not unfinished.exists()


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """Yield a folder that is read-only, also for the superuser."""
    # Not below tmp_path, whose parents only the superuser may enter.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IROTH | stat.S_IXOTH)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


@pytest.mark.parametrize("below", ["file.json", "scored/file.json"])
def test_no_right_to_write_is_one_clear_message(
    closed_folder: Path, below: str
) -> None:
    path = closed_folder / below
    with pytest.raises(PermissionError) as caught:
        storage.write_json(str(path), 1)
    place = path.parent if below.startswith("scored") else path
    assert str(caught.value) == (
        f"{place}: no permission to write in {closed_folder}; change its permissions "
        "or choose another directory"
    )


def test_a_right_that_lacks_elsewhere_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="^the input is closed$"):
        with storage.publish(str(tmp_path / "file.txt")) as unfinished:
            unfinished.touch()
            raise PermissionError("the input is closed")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=f"{tmp_path}/file is a file, not"):
        storage.write_json(f"{tmp_path}/file/deep/a.json", 1)
