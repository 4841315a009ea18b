"""Progress reports: log records that a terminal can draw as bars."""

import logging


def report(logger: logging.Logger, what: str, done: int, total: int) -> None:
    """Log how many units of some work are done.

    The record has the attribute `progress = (what, done, total)`, from which the
    command line draws a bar; other handlers write the message.

    Args:
        logger: The logger to use.
        what: Name of the units, such as "score: rows".
        done: Number of units done.
        total: Number of all units.
    """
    logger.info(
        "%s %d of %d", what, done, total, extra={"progress": (what, done, total)}
    )
