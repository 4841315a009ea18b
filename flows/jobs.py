"""The flow behind each command, and what it gives back."""

from collections.abc import Mapping
from typing import Any

from prefect import Flow

from flows import (
    compare,
    embed,
    impute,
    monitor,
    retrain,
    runs,
    sample,
    score,
    words,
)
from flows.terminal import Terminal
from tasks import environment, storage
from tasks.config import Config

FLOWS: dict[str, Flow[..., dict[str, Any]]] = {
    "prepare": retrain.prepare,
    "train": retrain.train,
    "evaluate": retrain.evaluate,
    "retrain": retrain.retrain,
    "score": score.score,
    "backfill": score.backfill,
    "monitor": monitor.monitor,
    "compare": compare.compare,
    "sample": sample.sample,
    "embed": embed.embed,
    "impute": impute.impute,
}


def show(name: str, config: Config, terminal: Terminal, **parameters: Any) -> Any:
    """Runs a command's flow and shows what came out."""
    result = run(name, config, **parameters)
    terminal.result(result, words.text(result))
    return result


def run(
    name: str,
    config: Config,
    *,
    timeout_seconds: float | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Runs a command's flow as the only writer of its output.

    Args:
        name: Of the command.
        config: The configuration.
        timeout_seconds: After which the flow is stopped and has failed, if ever.
        **parameters: More parameters of the flow.

    Returns:
        What its steps returned, by name, and `status`: done, refused where the gate did
        not let the new model become champion, or drift where new rows have changed.
    """
    root = environment.local_root(config.resources.storage)
    flow = FLOWS[name]
    if timeout_seconds is not None:
        flow = flow.with_options(timeout_seconds=timeout_seconds)
    results: dict[str, Any] = runs.run(
        root, output(name, config), flow, config=config, **parameters
    )
    return {"status": status_of(results), **results}


def status_of(results: Mapping[str, Any]) -> str:
    """Whether all is done, or something was refused, or rows have drifted."""
    if results.get("monitor", {}).get("verdict") == "drift":
        return "drift"
    fit = results.get("contract", {}).get("passed", True)
    promoted = results.get("register", {}).get("promoted", True)
    return "done" if fit and promoted else "refused"


def verdict(result: Mapping[str, Any]) -> str:
    """What a flow came to, in a sentence."""
    if not result.get("contract", {}).get("passed", True):
        return f"the data: {result['contract']['reason']}"
    if "register" in result:
        register = result["register"]
        return f"{register['uri']} is {register['alias']}: {register['reason']}"
    for step in ("backfill", "score", "sample"):
        if step in result:
            return f"{result[step]['rows_out']:,} rows in {result[step]['path']}"
    return str(result["status"])


def output(name: str, config: Config) -> str:
    """What names the output of a command, for its lock: the same for every spelling."""
    if name == "backfill":
        _, path = storage.resolve(score.partitions_place(config))
        return path
    bulk = {
        "score": config.score.output,
        "monitor": config.monitor.output,
        "sample": config.sample.output,
        "embed": config.embed.output,
        "impute": config.impute.output,
    }
    given = bulk.get(name)
    home = storage.join(config.resources.storage, config.name)
    _, path = storage.resolve(given or home)
    if given or name not in bulk:
        return path
    inputs = {
        "score": config.score.input,
        "monitor": config.monitor.input,
        "sample": config.sample.given,
        "impute": config.impute.input,
        "embed": config.embed.input,
    }
    return f"{path} {name} {inputs[name] or ''}"
