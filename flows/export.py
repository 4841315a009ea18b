"""A registered version as an ONNX file."""

from typing import Any

from rich.markup import escape

from flows import steps
from flows.terminal import Terminal
from tasks import export, register
from tasks.config import Config

Json = dict[str, Any]  # JSON-able values


def run(config: Config, terminal: Terminal, output: str, version: str) -> Json:
    """Writes a version as ONNX; shows and returns what came out.

    Args:
        config: The configuration.
        terminal: Shows the summary.
        output: The file, local or S3.
        version: Number of a registered version, or an alias.
    """
    uri = steps.model_uri(config, version)
    folder, about = register.download(uri, config.resources.storage)
    written = export.export(folder, output)
    result = {"status": "done", "model": about, "export": written}
    terminal.result(result, summary(result))
    return result


def summary(result: Json) -> str:
    """What was written, in words with rich markup."""
    step = result["export"]
    return (
        f"[bold]export[/]     {escape(result['model']['uri'])} is "
        f"{escape(step['path'])}, {step['bytes']:,} bytes; of {step['rows']} rows "
        f"onnxruntime's log-probabilities differ by {step['furthest']:.1e} nats at most"
    )
