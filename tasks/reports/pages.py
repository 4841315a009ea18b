"""HTML pages, rendered from the templates of this package.

A page is one file without scripts or links. Every value is escaped.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jinja2

from tasks.runtime import manifest, storage

Json = dict[str, Any]  # JSON values


class Tile(NamedTuple):
    """A key figure at the top of a page.

    Attributes:
        name: What is measured.
        value: The measured value with its unit, formatted.
        remark: Explanation of the value in a phrase.
        is_fault: Whether the value is bad, and shown in red.
    """

    name: str
    value: str
    remark: str
    is_fault: bool = False


JOB_START, JOB_END = "<!-- job ", " -->"
"""Text around the job key in the second line of a page."""


def render(template: str, *, key: str, **content: Any) -> str:  # template variables
    """Render a page.

    Args:
        template: Name of the template, such as `drift.html.j2`.
        key: Job key, which the second line of the page records.
        **content: Variables of the template.
    """
    return _environment().get_template(template).render(key=key, **content)


def write(path: str, page: str) -> None:
    """Write a page to a local or S3 path."""
    with storage.publish(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def publish(
    folder: str, result_file: str, result: Json, page_file: str, page: str
) -> list[Json]:
    """Write a result as JSON, and its page, and return their manifest entries.

    Args:
        folder: Directory for both files, local or S3.
        result_file: Name of the JSON file.
        result: Its content.
        page_file: Name of the HTML file.
        page: The rendered page.
    """
    storage.write_json(storage.join(folder, result_file), result)
    write(storage.join(folder, page_file), page)
    return [manifest.file_entry(folder, name, 0) for name in (result_file, page_file)]


def read_job_key(path: str) -> str | None:
    """Read the job key of a page; return None where the file holds no page."""
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_stream(inner) as stream:
        lines = stream.read(200).decode("utf-8", "ignore").split("\n")
    second = lines[1] if len(lines) > 1 else ""
    if not (second.startswith(JOB_START) and second.endswith(JOB_END)):
        return None
    return second.removeprefix(JOB_START).removesuffix(JOB_END)


def format_nats(value: float) -> str:
    """Format a number of nats with three decimals, or one from 100 on."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def format_count(count: int) -> str:
    """Format a count with spaces between thousands."""
    return f"{count:,}".replace(",", " ")


def format_effect_size(size: Json | None) -> str:
    """Format the value of an effect size; a dash stands for None."""
    return "–" if size is None else f"{size['value']:.3f}"


def format_change(shares: Sequence[float]) -> str:
    """Format a share before and after; a dash stands for two zeros."""
    return f"{shares[0]:.1%} → {shares[1]:.1%}" if any(shares) else "–"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tasks.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "change": format_change,
        "count": format_count,
        "effect_size": format_effect_size,
        "nats": format_nats,
        "signed": "{:+.3f}".format,
    }
    return environment
