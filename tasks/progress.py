"""Progress, as log records that a terminal may draw as bars."""

import logging


def report(logger: logging.Logger, what: str, done: int, total: int) -> None:
    """Says that `done` of `total` units of `what` (such as "score: rows") are done.

    The record carries `progress = (what, done, total)`: the command line draws a bar
    from it, other handlers write the plain line.
    """
    logger.info(
        "%s %d of %d", what, done, total, extra={"progress": (what, done, total)}
    )
