"""The forms that new values of columns which are not modelled can have."""

from typing import Literal

KeyStyle = Literal["pattern", "sequence", "uuid", "null"]
"""Form of new keys: the pattern of the training rows, numbers, UUIDs, or null."""
