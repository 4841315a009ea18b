"""A dataset's history, replayed partition by partition, as schedules would have it.

After each partition has come, a model is retrained and judged and the partition is
scored; then its held-out rows, which no model has seen, say what retraining was worth:
against the champion of before, and against the first model, never retrained.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from rich.markup import escape

from flows import jobs
from flows.terminal import Terminal
from tasks import backfill, register, storage
from tasks import replay as months
from tasks.config import Config

SUFFIX = "-replay"
"""What follows the name of the dataset in that of the replayed model."""

WHO = ("champion", "challenger", "never retrained")

Json = dict[str, Any]  # JSON-able values


def run(
    config: Config, terminal: Terminal, *, window: int | None, rows: int | None
) -> Json:
    """Replays the partitions of `data.path`; shows and returns what came out.

    A replay that was stopped goes on with the next partition.

    Args:
        config: Of the dataset; the model is registered under a name of its own.
        terminal: Shows a line for each partition.
        window: How many partitions a model learns from, the newest ones; all if None.
        rows: Rows of each file that are kept; all if None.
    """
    root = storage.join(config.resources.storage, f"{config.name}{SUFFIX}")
    names = list(backfill.partitions(config.data.path))
    check_settings(root, {"partitions": names, "window": window, "rows": rows})
    own = replayed_config(config, storage.join(root, "data"))
    found: list[Json] = []
    for number, name in enumerate(names):
        path = storage.join(root, "replay", f"{number:04d}.json")
        if not storage.exists(path):
            months.bring(config.data.path, name, own.data.path, rows)
            if window is not None and number >= window:
                months.leave(own.data.path, names[number - window])
            storage.write_json(path, one(own, name, found))
        found.append(storage.read_json(path))
        terminal.say(line(found[-1]))
    picture = months.draw(root, found)
    result = {"status": "done", "picture": picture, "months": found}
    terminal.result(result, summary(result))
    return result


def check_settings(root: str, settings: Json) -> None:
    """Raises ValueError where another replay stands in the folder."""
    path = storage.join(root, "replay.json")
    if not storage.exists(path):
        storage.write_json(path, settings)
    elif storage.read_json(path) != settings:
        raise ValueError(
            f"{root}: holds a replay of other partitions or settings; delete the "
            "folder or name another --storage"
        )


def replayed_config(config: Config, data: str) -> Config:
    """The configuration of the replay of a dataset, which grows at `data`."""
    content = config.model_dump(mode="json")
    content["name"] += SUFFIX
    content["data"]["path"] = content["score"]["input"] = data
    content["score"]["output"] = None
    return Config.model_validate(content)


def one(config: Config, partition: str, before: Sequence[Json]) -> Json:
    """What happens when a partition has come."""
    champion = champion_folder(config)
    trained = jobs.run("retrain", config)
    scored = jobs.run("backfill", config)["backfill"] if has_champion(config) else {}
    challenger = trained["train"]["path"] if "train" in trained else None
    first = next((m["model"] for m in before if m["model"]), challenger)
    models = dict(zip(WHO, (champion, challenger, first), strict=True))
    return {
        "partition": partition,
        "model": challenger,
        "version": trained.get("register", {}).get("version"),
        "promoted": trained.get("register", {}).get("promoted", False),
        "reason": jobs.verdict(trained),
        "scored": scored.get("rows_out"),
        "anomalies": scored.get("anomalies"),
        **months.compare(models, trained["prepare"]["path"], partition),
    }


def has_champion(config: Config) -> bool:
    """Whether there is a model to score with."""
    found = register.alias_of(MlflowClient(), config.name, register.CHAMPION)
    return found is not None


def champion_folder(config: Config) -> str | None:
    """The folder of the champion, if there is one."""
    if not has_champion(config):
        return None
    uri = f"models:/{config.name}@{register.CHAMPION}"
    return register.download(uri, config.resources.storage)[0]


def line(month: Mapping[str, Any]) -> str:
    """One partition in words, with rich markup."""
    figures = ", ".join(
        f"{who} {month[who]['nll']:.3f}" for who in WHO if month[who] is not None
    )
    colour, what = ("green", "promoted") if month["promoted"] else ("yellow", "refused")
    return (
        f"{escape(month['partition']):<12} [{colour}]{what}[/]  NLL of "
        f"{month['rows']:,} unseen rows: {figures}"
    )


def summary(result: Json) -> str:
    """What retraining was worth, in words with rich markup."""
    told = [m for m in result["months"] if m["champion"] and m["challenger"]]
    lines = [
        f"{len(result['months'])} partitions, "
        f"{sum(m['promoted'] for m in result['months'])} promotions"
    ]
    if told:
        rows = sum(m["rows"] for m in told)
        means = {
            who: sum(m[who]["nll"] * m["rows"] for m in told) / rows for who in WHO
        }
        lines += [f"  {who:<16} {mean:.3f} nats per row" for who, mean in means.items()]
        lines[-3:-3] = ["mean NLL of unseen rows after the first partition"]
    return "\n".join([*lines, f"chart      {escape(result['picture'])}"])
