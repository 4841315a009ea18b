"""Messages through the blocks of Prefect that the configuration names."""

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.utilities.asyncutils import run_coro_as_sync


def send(slug: str, message: str, content: Mapping[str, Any]) -> None:
    """Send a message through a block.

    Args:
        slug: The block as TYPE/NAME.
        message: Text for a notification block.
        content: JSON object for a block of another type, such as a webhook.
    """
    block: Any = Block.load(slug)  # a block of any type
    if isinstance(block, NotificationBlock):
        answer: Any = block.notify(message, subject="chainrule")
    else:
        answer = block.call(dict(content))
    if inspect.isawaitable(answer):  # Some blocks are asynchronous only.
        run_coro_as_sync(_wait_for(answer))


async def _wait_for(answer: Awaitable[Any]) -> Any:
    """Wait for an awaitable, which `run_coro_as_sync` takes as a coroutine only."""
    return await answer
