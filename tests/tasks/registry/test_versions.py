"""Tests of finding versions in the registry."""

import pytest

from tasks.registry import (
    downloads,
)
from tasks.registry.promotion import Promotion


@pytest.mark.parametrize("uri", ["models:/alone@nobody", "models:/alone/7"])
def test_an_unknown_version_is_named(
    first: Promotion, uri: str, storage_root: str
) -> None:
    with pytest.raises(ValueError, match=f"{uri}: no such version"):
        downloads.download(uri, storage_root)


def test_a_uri_without_a_version_is_refused(storage_root: str) -> None:
    with pytest.raises(ValueError, match="without a version or alias"):
        downloads.download("models:/alone", storage_root)
