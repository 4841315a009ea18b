"""Conversion between UTC and the local time of a time zone, for whole arrays.

Arrow knows the rules of the time zones; here they become a list of moments at which the
offset from UTC changes, so that a conversion is a search in this list.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables.arrow import SECONDS_OF_DAY

PROBE = SECONDS_OF_DAY // 2
"""Seconds between the moments at which offsets are compared to find changes."""


@dataclass(frozen=True)
class ZoneOffsets:
    """Offsets of local time from UTC, in seconds, over some period.

    Attributes:
        changes: Moments at which the offset changes, in seconds since 1970 UTC, (n,).
        offsets: Offset before each change, and after the last one, (n + 1,).
    """

    changes: np.ndarray
    offsets: np.ndarray

    @cached_property
    def repeated_until(self) -> np.ndarray:
        """Ends of the periods, one after each change, whose local times are repeated.

        They start at the changes; the first one precedes all changes and is empty.
        """
        repeated = np.maximum(self.offsets[:-1] - self.offsets[1:], 0)
        return np.asarray(np.r_[np.iinfo(np.int64).min, self.changes + repeated])

    def shift(self, utc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what local times are ahead of UTC.

        Args:
            utc: Moments in seconds since 1970 UTC, (n,).

        Returns:
            Seconds (n,), and where a local time occurs for the second time (n,), as at
            the end of summer time.
        """
        place = np.searchsorted(self.changes, utc, side="right")
        return self.offsets[place], utc < self.repeated_until[place]

    def to_utc(self, local: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Convert local time to UTC, both in seconds since 1970.

        A local time that a change skips becomes one as much later as it skips.

        Args:
            local: Local times, (n,).
            second: Where the second of two equal local times is meant, (n,) bool.
        """
        before, after = self.offsets[:-1], self.offsets[1:]
        first_from = self.changes + np.maximum(before, after)
        second_from = self.changes + np.minimum(before, after)
        place = np.where(
            second,
            np.searchsorted(second_from, local, side="right"),
            np.searchsorted(first_from, local, side="right"),
        )
        return np.asarray(local - self.offsets[place])

    def repeat_any(self) -> bool:
        """Return whether a local time occurs twice."""
        return bool((self.offsets[:-1] > self.offsets[1:]).any())


@lru_cache(maxsize=64)
def zone_offsets(zone: str, first: int, last: int) -> ZoneOffsets:
    """Return the offsets of a time zone from UTC between two moments.

    Args:
        zone: Name of the zone, such as Europe/Berlin, or an offset such as +02:00.
        first: First moment, in seconds since 1970.
        last: Last moment.

    Raises:
        ValueError: Arrow does not know the zone.
    """
    # Local times of a draw may lie a day outside of the period.
    room = 2 * SECONDS_OF_DAY
    probes = np.arange(first - room, last + room + PROBE, PROBE)
    offsets = _offsets_at(zone, probes)
    places = np.flatnonzero(offsets[1:] != offsets[:-1])
    low, high = probes[places], probes[places + 1]
    before = offsets[places]
    while len(low) and (high - low).max() > 1:
        middle = (low + high) // 2
        is_before = _offsets_at(zone, middle) == before
        low, high = np.where(is_before, middle, low), np.where(is_before, high, middle)
    return ZoneOffsets(high, np.r_[offsets[:1], offsets[places + 1]])


def _offsets_at(zone: str, utc: np.ndarray) -> np.ndarray:
    """Return the offsets of a time zone from UTC at some moments, in seconds."""
    try:
        moments = pa.array(utc).view(pa.timestamp("s", zone))
        local = pc.local_timestamp(moments).view(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"time zone {zone!r} is unknown here ({error}); install the time zone "
            "database (package tzdata) or convert the column to UTC"
        ) from error
    return np.asarray(local - utc)
