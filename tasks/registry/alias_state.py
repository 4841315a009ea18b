"""The aliases of a registered model, as promotions and rollbacks return them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AliasState:
    """The aliases of a registered model after a promotion or a rollback.

    Attributes:
        name: Name of the registered model.
        champion: Number of the champion.
        previous: Number of the previous champion, or None.
        done: Whether nothing had to be changed.
        rolled_back: Number of the version that a rollback replaced, or None.
    """

    name: str
    champion: str | None
    previous: str | None
    done: bool = False
    rolled_back: str | None = None
