"""Calls to the outside: what is waited for is said, and some are given up."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tasks.runtime.redaction import redact

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SILENCE_SECONDS = 10.0
"""Seconds after which a call that has not answered is mentioned; until it is mentioned
again, three times as long."""


@contextmanager
def waiting_for(what: str, seconds: float = SILENCE_SECONDS) -> Iterator[None]:
    """Say what is waited for if the block takes long.

    Args:
        what: What the block calls, such as "MLflow at http://tracking:5000".
        seconds: Seconds until the first message.
    """
    ended = threading.Event()

    def watch() -> None:
        waited, pause = 0.0, seconds
        while not ended.wait(pause):
            waited += pause
            logger.warning("%s has taken %.0f s so far", redact(what), waited)
            pause *= 3

    thread = threading.Thread(target=watch, name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def within(seconds: float, function: Callable[[], Result]) -> Result:
    """Return what a function returns, unless it takes too long.

    It runs in a thread, which is left behind if it does not end in time.

    Args:
        seconds: Seconds that the function may take.
        function: The function.

    Raises:
        TimeoutError: It has not ended in time.
    """
    found: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            found.append(function())
        except BaseException as error:  # Raised in the waiting thread instead.
            errors.append(error)

    thread = threading.Thread(target=call, name="within", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return found[0]
