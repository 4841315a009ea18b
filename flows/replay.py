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


def run(config: Config, terminal: Terminal) -> Json:
    """Replays the partitions of `replay.path`; shows and returns what came out.

    A replay that was stopped goes on with the next partition.

    Args:
        config: Of the dataset; the model is registered under a name of its own.
        terminal: Shows a line for each partition.
    """
    source, window = config.replay.path or config.data.path, config.replay.window
    root = storage.join(config.resources.storage, f"{config.name}{SUFFIX}")
    names = list(backfill.partitions(source))
    own = replayed_config(config, storage.join(root, "data"))
    check_settings(root, settings(config, names))
    found: list[Json] = []
    for number, name in enumerate(names):
        path = storage.join(root, "replay", f"{number:04d}.json")
        if not storage.exists(path):
            months.bring(source, name, own.data.path, config.replay.rows)
            if window is not None and number >= window:
                months.leave(own.data.path, names[number - window])
            champion = champion_of_before(own, path.replace(".json", "-champion.json"))
            storage.write_json(path, one(own, name, champion, found))
        found.append(storage.read_json(path))
        terminal.say(line(found[-1]))
    picture = months.draw(root, found)
    result = {"status": "done", "picture": picture, "months": found}
    terminal.result(result, summary(result))
    return result


def settings(config: Config, partitions: Sequence[str]) -> Json:
    """All that what comes out of a replay depends on."""
    content = config.model_dump(mode="json")
    for place in ("resources", "schedules", "card"):
        del content[place]
    return {"partitions": list(partitions), "config": content}


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
    content["score"]["output"] = content["monitor"]["output"] = None
    return Config.model_validate(content)


def champion_of_before(config: Config, path: str) -> str | None:
    """The champion's folder when a partition came, also if that was stopped since."""
    if not storage.exists(path):
        storage.write_json(path, {"folder": champion_folder(config)})
    folder: str | None = storage.read_json(path)["folder"]
    return folder


def one(
    config: Config, partition: str, champion: str | None, before: Sequence[Json]
) -> Json:
    """What happens when a partition has come.

    Args:
        config: Of the replayed model.
        partition: Name of the partition.
        champion: Folder of the champion of before.
        before: What happened when the partitions before it came.
    """
    moved = drift(config, partition) if champion else None
    trained = jobs.run("retrain", config)
    scored: Json = {}
    if has_champion(config):
        found = jobs.run("backfill", config, since=partition, until=partition)
        scored = found["backfill"]
    challenger = trained["train"]["path"] if "train" in trained else None
    first = next((m["model"] for m in before if m["model"]), challenger)
    models = dict(zip(WHO, (champion, challenger, first), strict=True))
    return {
        "partition": partition,
        "drift": moved,
        "model": challenger,
        "version": trained.get("register", {}).get("version"),
        "promoted": trained.get("register", {}).get("promoted", False),
        "reason": jobs.verdict(trained),
        "scored": scored.get("rows_out"),
        "anomalies": scored.get("anomalies"),
        **months.compare(models, trained["prepare"]["path"], partition),
    }


def drift(config: Config, partition: str) -> Json:
    """Whether a partition is still what the champion learned, and why not."""
    new = backfill.partitions(config.data.path)[partition]
    watched = config.monitor.model_copy(update={"input": new})
    asked = config.model_copy(update={"monitor": watched})
    found = jobs.run("monitor", asked)["monitor"]
    return {name: found[name] for name in ("verdict", "reasons")}


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


def has_drifted(month: Mapping[str, Any]) -> bool:
    """Whether a partition was no longer what the champion had learned."""
    return month["drift"] is not None and month["drift"]["verdict"] == "drift"


def line(month: Mapping[str, Any]) -> str:
    """One partition in words, with rich markup."""
    figures = ", ".join(
        f"{who} {month[who]['nll']:.3f}" for who in WHO if month[who] is not None
    )
    colour, what = ("green", "promoted") if month["promoted"] else ("yellow", "refused")
    return (
        f"{escape(month['partition']):<12} [{colour}]{what}[/]  "
        f"{'[red]drift[/]' if has_drifted(month) else '     '}  NLL of "
        f"{month['rows']:,} unseen rows: {figures}"
    )


def summary(result: Json) -> str:
    """What retraining was worth, in words with rich markup."""
    told = [m for m in result["months"] if m["champion"] and m["challenger"]]
    lines = [
        f"{len(result['months'])} partitions, "
        f"{sum(m['promoted'] for m in result['months'])} promotions, "
        f"{sum(has_drifted(m) for m in result['months'])} drifted"
    ]
    if told:
        rows = sum(m["rows"] for m in told)
        means = {
            who: sum(m[who]["nll"] * m["rows"] for m in told) / rows for who in WHO
        }
        lines += [f"  {who:<16} {mean:.3f} nats per row" for who, mean in means.items()]
        lines[-3:-3] = ["mean NLL of unseen rows after the first partition"]
    return "\n".join([*lines, f"chart      {escape(result['picture'])}"])
