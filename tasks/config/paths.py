"""Types of configuration fields that hold paths, and their conversion."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo

from tasks.config.section import Section


@dataclass(frozen=True)
class PathMarker:
    """Marks a text field as a path; `role` names what the path leads to."""

    role: str


DatasetPath = Annotated[str, PathMarker("dataset")]
"""A Parquet file, directory, glob pattern or hive dataset, local or a URI."""

OutputPath = Annotated[str, PathMarker("output")]
"""A directory to write results to, local or a URI; may contain `{key}`."""

ResultPath = Annotated[
    OutputPath | None,
    Field(description="Directory for the results; default: under the storage."),
]
"""The directory of a task's results."""

SomeSection = TypeVar("SomeSection", bound=Section)


def make_paths_absolute(section: SomeSection) -> SomeSection:
    """Return a copy of a section, at any depth, whose local paths are absolute.

    Relative paths are taken from the current directory. URIs such as `s3://bucket/x` or
    `models:/name/1` and words with a meaning of their own, such as `auto`, are kept.
    """
    changed: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            changed[name] = make_paths_absolute(value)
        elif isinstance(value, str) and is_path_field(field):
            changed[name] = value if value in _words(field) else _absolute(value)
    return section.model_copy(update=changed)


def is_path_field(field: FieldInfo) -> bool:
    """Return whether a field holds a path, alone or as one of several types."""
    types = [field.annotation, *_parts(field.annotation)]
    markers = [m for t in types for m in getattr(t, "__metadata__", ())]
    return any(isinstance(m, PathMarker) for m in [*field.metadata, *markers])


def _absolute(path: str) -> str:
    is_uri = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path)
    return path if is_uri else str(Path(path).absolute())


def _words(field: FieldInfo) -> set[str]:
    """Return the words that a field accepts besides paths."""
    literals = [t for t in _parts(field.annotation) if get_origin(t) is Literal]
    return {word for literal in literals for word in get_args(literal)}


def _parts(annotation: Any) -> tuple[Any, ...]:  # a type or a union of types
    return get_args(annotation)
