"""Reference of all configuration keys, as a commented YAML file of the defaults."""

import datetime
import json
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tasks.config.paths import is_path_field
from tasks.config.root import Config

SYMBOLS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
"""Comparison symbols by the names of pydantic's bounds."""

NAMES = {
    str: "text",
    SecretStr: "text",
    int: "integer",
    float: "number",
    bool: "true | false",
    datetime.date: "date",
    datetime.datetime: "timestamp",
}
"""Names of Python's types in the reference."""


def reference() -> str:
    """Return YAML with every key, its default, type, bounds and description."""
    return "\n".join(_section_lines(Config, "")) + "\n"


def _section_lines(section: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        choices = sections_of(field.annotation)
        if not choices:
            yield f"{indent}{name}: {default_of(field)}  # {_comment(field)}"
            continue
        usual = choices[0] if field.is_required() else type(field.default)
        if field.default is None:
            yield f"{indent}{name}: null  # {field.description}"
        else:
            yield f"\n{indent}{name}:  # {_summary(usual)}"
            yield from _section_lines(usual, indent + "  ")
        for other in choices:
            if other is not usual:
                yield f"\n{indent}  # or: {_summary(other)}"
                for line in _section_lines(other, ""):
                    yield f"{indent}  # {line}"


def sections_of(annotation: Any) -> list[type[BaseModel]]:  # a type or a union
    """Return the sections that a field can hold, or [] for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return [s for part in get_args(annotation) for s in sections_of(part)]
    return []


def _summary(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").splitlines()[0]


def default_of(field: FieldInfo) -> str:
    """Return a default as YAML, or REQUIRED if there is none."""
    if field.is_required():
        return "REQUIRED"
    value = field.default
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _comment(field: FieldInfo) -> str:
    """Return the type and the bounds of a field, followed by its description."""
    return ". ".join(part for part in (type_of(field), field.description) if part)


def type_of(field: FieldInfo) -> str:
    """Return the type and the bounds of a field in plain words."""
    kind = type_name(field.annotation) + _bounds(field.metadata)
    return kind.replace("text", "path") if is_path_field(field) else kind


def _bounds(metadata: Iterable[object]) -> str:
    """Return bounds from a field's metadata as text, such as ` > 0 < 1`."""
    flat = [b for m in metadata for b in getattr(m, "metadata", [m])]
    names = [(bound, type(bound).__name__.lower()) for bound in flat]
    return "".join(
        f" {SYMBOLS[name]} {getattr(bound, name):g}"
        for bound, name in names
        if name in SYMBOLS
    )


def type_name(annotation: Any) -> str:  # a type, a union or a literal
    """Return the name of a type in plain words, such as `integer > 0 or null`."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return type_name(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(type_name, arguments)))
    if origin is tuple:
        return "list"
    if origin is dict:
        return _mapping_name(*arguments)
    return NAMES.get(annotation, "null")


def _mapping_name(keys: Any, values: Any) -> str:  # types or a section
    if get_origin(keys) is Literal:
        named = (f"{key}: {type_name(values)}" for key in get_args(keys))
        return f"{{{', '.join(named)}}}"
    if values is str:
        return "mapping of text to text"
    fields = "; ".join(
        f"{name}: {type_name(field.annotation)}"
        for name, field in values.model_fields.items()
    )
    return f"mapping of column to {{{fields}}}"
