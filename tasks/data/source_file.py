"""Files of a dataset as they were when it was opened, and whether they still are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from tasks.data.files import content_hash
from tasks.runtime import storage


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when the dataset was opened.

    Attributes:
        path: Path of the file, as `storage.resolve` takes it.
        stamp: What the storage says about this version of the file, see
            `storage.stamp`.
        content: Hash of the content; empty if it was not computed.
    """

    path: str
    stamp: storage.Stamp
    content: str = ""

    def check(self) -> None:
        """Raise ValueError unless the file still has the same content.

        A file with another stamp, such as a copy that was put in its place, counts as
        the same if its content is.
        """
        self._compare(storage.stamp(self.path))

    def _compare(self, found: storage.Stamp | None) -> None:
        """Raise ValueError unless a version of the file has the same content."""
        if found == self.stamp:
            return
        if found is None:
            raise ValueError(
                f"{self.path}: was deleted while the job ran, so that nothing is "
                "published; put it back and run the command again"
            )
        if not self.content or _content(self.path, found) != self.content:
            raise ValueError(_changed(self.path))

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise ValueError if the file is not the same before and after the block.

        An error in the block is replaced if the file has changed, since that is its
        cause.
        """
        before = storage.stamp(self.path)
        self._compare(before)
        try:
            yield
        except Exception:
            self._compare_after(before)
            raise
        self._compare_after(before)

    def _compare_after(self, before: storage.Stamp | None) -> None:
        """Raise ValueError unless the file is the version that it was before."""
        after = storage.stamp(self.path)
        if after != before:
            self._compare(after)
            # It was changed and put back; what was read meanwhile is not known.
            raise ValueError(_changed(self.path))


def open_source(path: str, stamp: storage.Stamp | None, *, hashed: bool) -> SourceFile:
    """Return a file as it is now.

    Args:
        path: Path of the file.
        stamp: Stamp of the file from before its footer was read.
        hashed: Whether to compute the hash of the content.

    Raises:
        ValueError: The file has changed since it had the stamp.
    """
    content = content_hash(path) if hashed else ""
    if stamp is None or storage.stamp(path) != stamp:
        raise ValueError(_changed(path))
    return SourceFile(path, stamp, content)


@lru_cache(maxsize=1024)
def _content(path: str, stamp: storage.Stamp) -> str:
    """Return the hash of the content of a version of a file, computed once."""
    return content_hash(path)


def _changed(path: str) -> str:
    return (
        f"{path}: was changed while the job ran, so that nothing is published; run the "
        "command again when no other program writes to the file"
    )
