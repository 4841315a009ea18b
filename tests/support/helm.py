"""Rendering of the Helm chart, by the part of Helm's language that it uses."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ACTION = re.compile(r"\{\{(-?) (.*?) (-?)\}\}", re.DOTALL)
"""An action of a template; a dash removes the white space on its side."""


def render(chart: Path, changes: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return all manifests of a chart.

    Args:
        chart: Directory of the chart.
        changes: Values in place of those in `values.yaml`, by dotted key.
    """
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for key, value in (changes or {}).items():
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        assert last in inner, key
        inner[last] = value
    meta = yaml.safe_load((chart / "Chart.yaml").read_text())
    context = {"Values": values, "Release": {"Name": "test"}, "Chart": meta}
    found: list[dict[str, Any]] = []
    for path in sorted(chart.glob("templates/*.yaml")):
        text = render_text(path.read_text(), context)
        found += [manifest for manifest in yaml.safe_load_all(text) if manifest]
    return found


def render_text(template: str, context: dict[str, Any]) -> str:
    """Render a template with actions `if`, `end` and pipelines of a few functions.

    Raises:
        ValueError: It has another action; Helm might take it for something else.
    """
    output, shown, position, trimmed = "", [True], 0, False
    for found in ACTION.finditer(template):
        trim_before, action, trim_after = found.groups()
        text = template[position : found.start()]
        text = text.lstrip() if trimmed else text
        text = text.rstrip() if trim_before else text
        output += text if all(shown) else ""
        position, trimmed = found.end(), bool(trim_after)
        if action == "end":
            shown.pop()
        elif action.startswith("if "):
            shown.append(bool(value_of(action.removeprefix("if "), context)))
        elif all(shown):
            output += pipeline(action, context)
    assert shown == [True], "an if without an end"
    rest = template[position:]
    return output + (rest.lstrip() if trimmed else rest)


def value_of(term: str, context: dict[str, Any]) -> Any:  # a value of YAML
    """Return the value of a path such as `.Values.image.tag`, which must exist."""
    if not re.fullmatch(r"(\.\w+)+", term):
        raise ValueError(f"{term!r} is not a path that this renderer knows")
    value: Any = context
    for name in term[1:].split("."):
        value = value[name]
    return value


def pipeline(action: str, context: dict[str, Any]) -> str:
    """Return the text of a pipeline, such as `toYaml .Values.x | nindent 4`."""
    first, *functions = (part.strip() for part in action.split("|"))
    name, _, term = first.rpartition(" ")
    value = value_of(term, context)
    if name == "toYaml":
        value = yaml.safe_dump(value).rstrip("\n")
    elif name:
        raise ValueError(f"{name!r} is not a function that this renderer knows")
    for function in functions:
        if function == "quote":
            value = json.dumps(str(value))
        elif match := re.fullmatch(r"nindent (\d+)", function):
            value = "\n" + re.sub("^", " " * int(match[1]), value, flags=re.MULTILINE)
        else:
            raise ValueError(f"{function!r} is not a function that this renderer knows")
    return str(value)


def render_by_helm(chart: Path) -> list[dict[str, Any]] | None:
    """Return all manifests of a chart as Helm renders them; None without Helm."""
    helm = shutil.which("helm")
    if helm is None:
        return None
    command = [helm, "template", "test", str(chart), "--kube-version", "1.30.0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
