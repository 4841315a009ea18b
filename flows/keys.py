"""Every key of the configuration, as a commented YAML file that shows the defaults."""

import json
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.config import Config

SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
"""Bounds by the names that pydantic's metadata have for them."""


def reference() -> str:
    """A YAML file with all keys, their types, limits, meanings and defaults."""
    return "\n".join(lines(Config, "")) + "\n"


def lines(section: type[BaseModel], indent: str) -> Iterator[str]:
    """The lines of one section, its subsections below it."""
    for name, field in section.model_fields.items():
        choices = sections(field.annotation)
        if not choices:
            yield f"{indent}{name}: {default(field)}  # {remark(field)}"
            continue
        usual = choices[0] if field.is_required() else type(field.default)
        if field.default is None:
            yield f"{indent}{name}: null  # {field.description}"
        else:
            yield f"\n{indent}{name}:  # {first_line(usual)}"
            yield from lines(usual, indent + "  ")
        for other in choices:
            if other is not usual:
                yield f"\n{indent}  # or: {first_line(other)}"
                yield from (f"{indent}  # {line}" for line in lines(other, ""))


def sections(annotation: Any) -> list[type[BaseModel]]:  # a type, a union or a literal
    """The sections that a field may hold; [] if it holds a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return [one for part in get_args(annotation) for one in sections(part)]
    return []


def first_line(section: type[BaseModel]) -> str:
    """What a section is about."""
    return (section.__doc__ or "").splitlines()[0]


def default(field: FieldInfo) -> str:
    """A field's default as YAML; a placeholder where the user must give one."""
    if field.is_required():
        return "REQUIRED"
    value = field.default
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def remark(field: FieldInfo) -> str:
    """A field's type and limits, then its meaning."""
    parts = [kind(field.annotation) + limits(field.metadata), field.description]
    return "; ".join(part for part in parts if part)


def limits(metadata: Iterable[object]) -> str:
    """The bounds of a number, such as ` > 0 < 1`."""
    names = [(bound, type(bound).__name__.lower()) for bound in metadata]
    return "".join(
        f" {SIGNS[name]} {getattr(bound, name):g}"
        for bound, name in names
        if name in SIGNS
    )


def kind(annotation: Any) -> str:  # a type, a union or a literal
    """A type in plain words."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        return kind(arguments[0]) + limits(arguments[1:])
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(kind(one) for one in arguments)
    if origin is tuple:
        return "list"
    if origin is dict:
        _, section = arguments
        if section is str:
            return "mapping of text to text"
        values = "; ".join(
            f"{name}: {kind(field.annotation)}"
            for name, field in section.model_fields.items()
        )
        return f"mapping of column to {{{values}}}"
    names = {str: "text", int: "integer", float: "number", bool: "true | false"}
    return names.get(annotation, "null")
