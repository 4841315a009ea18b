"""The flow behind each command, and what it gives back."""

from typing import Any

from prefect import Flow

from flows import embed, retrain, runs, sample, score, words
from flows.terminal import Terminal
from tasks import environment, storage
from tasks.config import Config

FLOWS: dict[str, Flow[..., dict[str, Any]]] = {
    "prepare": retrain.prepare,
    "train": retrain.train,
    "evaluate": retrain.evaluate,
    "retrain": retrain.retrain,
    "score": score.score,
    "sample": sample.sample,
    "embed": embed.embed,
}


def show(name: str, config: Config, terminal: Terminal, **parameters: Any) -> Any:
    """Runs a command's flow and shows what came out."""
    result = run(name, config, **parameters)
    terminal.result(result, words.text(result))
    return result


def run(name: str, config: Config, **parameters: Any) -> dict[str, Any]:
    """Runs a command's flow as the only writer of its output.

    Returns:
        What its steps returned, by name, and `status`: done, or refused where the gate
        did not let the new model become champion.
    """
    root = environment.local_root(config.resources.storage)
    results: dict[str, Any] = runs.run(
        root, output(name, config), FLOWS[name], config=config, **parameters
    )
    promoted = results.get("register", {}).get("promoted", True)
    return {"status": "done" if promoted else "refused", **results}


def output(name: str, config: Config) -> str:
    """What names the output of a command, for its lock: the same for every spelling."""
    bulk = {"score": config.score, "sample": config.sample, "embed": config.embed}
    given = bulk[name].output if name in bulk else None
    home = storage.join(config.resources.storage, config.name)
    _, path = storage.resolve(given or home)
    if given or name not in bulk:
        return path
    inputs = {"score": config.score.input, "embed": config.embed.input}
    return f"{path} {name} {inputs.get(name, '')}"
