"""Tests of modules that are imported when they are first used."""

import sys
from pathlib import Path

import pytest

from tasks.runtime.deferred import DeferredModule


def test_a_module_is_imported_when_an_attribute_is_first_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_late.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = DeferredModule("imported_late")
    assert "imported_late" not in sys.modules
    assert module.ANSWER == 42
    assert sys.modules["imported_late"].ANSWER == 42
    with pytest.raises(AttributeError, match="imported_late"):
        _ = module.QUESTION


def test_a_module_that_is_missing_is_an_error_of_its_user() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = DeferredModule("no_such_module").ANSWER
