"""Folders of results: claimed, resumed, refused, overwritten and finished."""

import os
import shutil
from pathlib import Path

import pytest

from tasks.runtime import leases, manifest, storage
from tests.support.processes import start


def sizes(folder: str) -> dict[str, int]:
    """Return the sizes of the files in a folder, without that of its lease."""
    found = storage.file_sizes(folder)
    return {name: size for name, size in found.items() if name != leases.NAME}


def write(folder: str, name: str) -> dict[str, object]:
    """Write a file and return its entry in a manifest."""
    storage.write_json(storage.join(folder, name), name)
    return manifest.file_entry(folder, name, rows=1)


def finish(folder: str, key: str) -> dict[str, object]:
    """Finish a job with two files and return its manifest."""
    assert manifest.claim(folder, key) is None
    files = [write(folder, "a.json"), write(folder, "deep/b.json")]
    return manifest.finish(folder, key, files=files, rows_out=2)


def test_a_job_key_depends_on_values_and_not_on_order() -> None:
    key = manifest.job_key(data="1", model="2")
    assert key == manifest.job_key(model="2", data="1")
    assert key != manifest.job_key(model="1", data="2")
    assert len(key) == 16


def test_a_finished_job_is_found_and_not_touched(folder: str) -> None:
    done = finish(folder, "k1")
    assert manifest.claim(folder, "k1") == done
    assert storage.list_entries(folder) == ["_manifest.json", "a.json", "deep"]
    assert done["rows_out"] == 2 and done["started"] <= done["finished"]  # type: ignore[operator]


def test_an_unfinished_job_goes_on_with_what_it_has(folder: str) -> None:
    assert manifest.claim(folder, "k1") is None
    write(folder, "a.json")
    started = storage.read_json(storage.join(folder, manifest.CLAIM))["started"]
    assert manifest.claim(folder, "k1") is None
    assert set(sizes(folder)) == {"_job.json", "a.json"}
    assert manifest.finish(folder, "k1")["started"] == started


def test_what_killed_writers_left_is_gone_when_a_job_goes_on_and_ends(
    tmp_path: Path,
) -> None:
    folder = str(tmp_path / "output")
    manifest.claim(folder, "k1")
    write(folder, f"deep/{storage.TEMPORARY}part")
    assert manifest.claim(folder, "k1") is None
    assert set(sizes(folder)) == {"_job.json"}
    write(folder, f"deep/{storage.TEMPORARY}part")
    manifest.finish(folder, "k1")
    assert set(sizes(folder)) == {"_manifest.json"}


@pytest.mark.parametrize("harm", ["deleted", "cut short"])
def test_a_finished_job_that_lost_a_file_is_to_be_completed(
    folder: str, harm: str
) -> None:
    finish(folder, "k1")
    victim = storage.join(folder, "deep/b.json")
    storage.delete(victim)
    if harm == "cut short":
        storage.write_json(victim, "")
    assert manifest.claim(folder, "k1") is None
    assert not storage.exists(storage.join(folder, manifest.MANIFEST))
    assert storage.exists(storage.join(folder, "a.json"))


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_another_jobs_folder_is_refused_untouched(folder: str, state: str) -> None:
    if state == "finished":
        finish(folder, "k1")
    else:
        manifest.claim(folder, "k1")
        write(folder, "a.json")
    before = sizes(folder)
    with pytest.raises(FileExistsError, match=r"another job \(k1, this one is k2\)"):
        manifest.claim(folder, "k2")
    assert sizes(folder) == before


def test_another_jobs_folder_is_overwritten_on_demand(folder: str) -> None:
    finish(folder, "k1")
    assert manifest.claim(folder, "k2", overwrite=True) is None
    assert set(sizes(folder)) == {"_job.json"}
    assert manifest.finish(folder, "k2")["job_key"] == "k2"


def test_overwriting_a_finished_job_with_itself_keeps_it(folder: str) -> None:
    done = finish(folder, "k1")
    assert manifest.claim(folder, "k1", overwrite=True) == done


def test_an_overwriting_that_was_killed_goes_on(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(folder, "k1")

    def killed(path: str) -> None:
        raise InterruptedError(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", killed)
        with pytest.raises(InterruptedError):
            manifest.claim(folder, "k2", overwrite=True)
    with pytest.raises(FileExistsError, match=r"another job \(k2,"):
        manifest.claim(folder, "k1")
    assert manifest.claim(folder, "k2") is None
    assert set(sizes(folder)) == {"_job.json"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("foreign", ["thesis.odt", "photos/cat.jpg"])
def test_files_of_no_job_are_never_mixed_or_wiped(
    folder: str, foreign: str, overwrite: bool
) -> None:
    write(folder, foreign)
    with pytest.raises(FileExistsError, match="files that no job has written, such as"):
        manifest.claim(folder, "k1", overwrite=overwrite)
    assert set(sizes(folder)) == {foreign}


@pytest.mark.parametrize("content", ['{"job_key": "k', "[]", "{}"])
def test_a_damaged_manifest_is_named_with_its_remedy(
    tmp_path: Path, content: str
) -> None:
    folder = str(tmp_path / "output")
    finish(folder, "k1")
    (tmp_path / "output" / "_manifest.json").write_text(content)
    with pytest.raises(ValueError, match="_manifest.json: damaged.*--overwrite"):
        manifest.claim(folder, "k1")
    assert manifest.claim(folder, "k1", overwrite=True) is None
    assert set(sizes(folder)) == {"_job.json"}


def test_a_job_that_lost_its_folder_to_another_does_not_finish(folder: str) -> None:
    manifest.claim(folder, "k1")
    manifest.claim(folder, "k2", overwrite=True)
    with pytest.raises(FileExistsError, match=r"another job \(k2\) took it over"):
        manifest.finish(folder, "k1")


def test_two_processes_cannot_work_on_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    program = """
import sys, time
from tasks.runtime import manifest
manifest.claim(sys.argv[1], "k1")
print("claimed", flush=True)
time.sleep(60)
"""
    with start(program, str(folder)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        for key, overwrite in [("k1", False), ("k2", True)]:
            with pytest.raises(FileExistsError, match="another process is writing"):
                manifest.claim(str(folder), key, overwrite=overwrite)
        other.kill()
    assert manifest.claim(str(folder), "k1") is None


def test_a_claim_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file, not a directory"):
        manifest.claim(str(tmp_path / "file"), "k1")


def test_a_finished_folder_can_be_moved_and_claimed_again(tmp_path: Path) -> None:
    done = finish(str(tmp_path / "a"), "k1")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert manifest.claim(str(tmp_path / "b"), "k1") == done
    assert manifest.claim(str(tmp_path / "a"), "k2") is None
    assert os.listdir(tmp_path / "a") == ["_job.json"]


@pytest.mark.parametrize("name", [manifest.MANIFEST, manifest.CLAIM])
def test_a_claim_or_manifest_with_a_changed_letter_is_discarded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = str(tmp_path / "k1")
    if name == manifest.MANIFEST:
        finish(folder, "k1")
    else:
        manifest.claim(folder, "k1")
    path = Path(folder) / name
    path.write_text(path.read_text().replace('"k1"', '"k2"'))
    assert manifest.claim(folder, "k1") is None
    assert f"{name}: damaged" in caplog.text


def test_a_changed_manifest_is_named(tmp_path: Path) -> None:
    folder = str(tmp_path / "k1")
    finish(folder, "k1")
    path = tmp_path / "k1" / manifest.MANIFEST
    path.write_text(path.read_text().replace('"rows_out": 2', '"rows_out": 3'))
    with pytest.raises(ValueError, match="_manifest.json: is damaged"):
        manifest.read_finished(folder)
