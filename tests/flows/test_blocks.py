from pathlib import Path

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block

from flows import blocks


class Written(NotificationBlock):
    """Notification block that appends messages to a file."""

    _block_type_slug = "written"
    path: str

    def notify(self, body: str, subject: str | None = None) -> None:  # type: ignore[override]
        with open(self.path, "a") as file:
            file.write(f"{subject}: {body}\n")


class Called(Block):
    """Block with the method of webhooks, which is asynchronous."""

    _block_type_slug = "called"
    path: str

    async def call(self, payload: dict[str, str]) -> None:
        Path(self.path).write_text(str(payload))


def test_notification_blocks_get_text_and_others_an_object(
    server: None, tmp_path: Path
) -> None:
    path = tmp_path / "told"
    Written(path=str(path)).save("here", overwrite=True)
    Called(path=str(path)).save("there", overwrite=True)
    blocks.send("written/here", "drift", {"event": "x"})
    assert path.read_text() == "chainrule: drift\n"
    blocks.send("called/there", "drift", {"event": "x"})
    assert path.read_text() == "{'event': 'x'}"
