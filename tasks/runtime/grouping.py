"""Items that wait to be called, in groups of small ones.

A call costs the driver about a millisecond, whatever is done in it. Small fragments,
such as those of ten thousand small files, therefore share calls.
"""

from collections import Counter, deque
from collections.abc import Sequence

GROUP_BYTES = 4 * 2**20
"""Size up to which small items share a call."""

GROUP_ITEMS = 32
"""Maximum number of items of a call."""

Group = list[int]
"""Positions of the items of one call, consecutive."""


class WaitingItems:
    """The items of a job that no call has been made for, in order.

    Items with a `byte_size` are grouped until a group has `GROUP_BYTES` or
    `GROUP_ITEMS`. Towards the end groups become smaller, so that all workers end at
    about the same time. An item whose group was lost is called alone, so that it is
    known which one costs a worker its life.

    Args:
        items: All items of the job.
    """

    def __init__(self, items: Sequence[object]) -> None:
        self.items = items
        self.left = deque(range(len(items)))
        self.alone: set[int] = set()
        self.deaths: Counter[int] = Counter()
        self.ends: deque[int] = deque()

    def __len__(self) -> int:
        return len(self.left)

    def may_start(self, yielded: int, parallel: int) -> bool:
        """Return whether another group may start.

        At most four times as many groups as there are workers wait for the results of
        earlier ones.

        Args:
            yielded: Number of items whose results have been passed on.
            parallel: Maximum number of running calls.
        """
        while self.ends and self.ends[0] <= yielded:
            self.ends.popleft()
        if not self.left:
            return False
        return self.left[0] in self.alone or len(self.ends) < 4 * parallel

    def take(self, parallel: int) -> Group:
        """Remove the next group and return it.

        Args:
            parallel: Maximum number of running calls.
        """
        group = [self.left.popleft()]
        if group[0] in self.alone:
            return group
        most = min(GROUP_ITEMS, len(self.left) // (2 * max(1, parallel)))
        room = GROUP_BYTES - self._size(group[0])
        while len(group) < most and self._size(self.left[0]) <= room:
            room -= self._size(self.left[0])
            group.append(self.left.popleft())
        self.ends.append(group[-1] + 1)
        return group

    def _size(self, position: int) -> int:
        size = getattr(self.items[position], "byte_size", None)
        return size if isinstance(size, int) else GROUP_BYTES

    def put_back(self, group: Group, *, caused: bool) -> int:
        """Let the items of a lost call wait again, each for a call of its own.

        Args:
            group: The items.
            caused: Whether the call may have caused the loss of its worker.

        Returns:
            How often the item was alone in a call that was lost; 0 for several items.
        """
        self.left.extendleft(reversed(group))
        self.alone.update(group)
        if len(group) > 1:
            return 0
        self.deaths[group[0]] += caused
        return self.deaths[group[0]]
