"""Patterns of keys, such as AB-12345: learned from examples, and filled anew.

A pattern is a sequence of segments. Numbers choose the characters: different numbers
below the size of a pattern give different texts.
"""

import math
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

MIN_TEXTS = 20
"""Number of different texts from which a pattern is learned."""

MAX_LENGTH = 64
"""Maximum number of characters of a text with a pattern."""

MAX_RUNS = 9
"""Maximum number of runs of digits, letters and other characters of such a text."""

CHUNK = 5
"""Number of characters that one number chooses; 62**5 is below 2**30."""

TEXTS_PER_CHARACTER = 20
"""Number of texts per character of a place from which no other character occurs."""

DIGITS, LOWER, UPPER = string.digits, string.ascii_lowercase, string.ascii_uppercase

ALPHABETS = {
    "0-9": DIGITS,
    "0-9a-f": DIGITS + "abcdef",
    "0-9A-F": DIGITS + "ABCDEF",
    "a-z": LOWER,
    "A-Z": UPPER,
    "A-Za-z": UPPER + LOWER,
    "0-9a-z": DIGITS + LOWER,
    "0-9A-Z": DIGITS + UPPER,
    "0-9A-Za-z": DIGITS + UPPER + LOWER,
}
"""Alphabets by their form in regular expressions, those tried first at the top."""

RUN = re.compile(r"[0-9]+|[A-Za-z]+|[^0-9A-Za-z]+")
"""Run of characters of one kind."""

SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")
"""Characters with a meaning in regular expressions."""


@dataclass(frozen=True)
class Segment:
    """Consecutive characters of one alphabet.

    Attributes:
        alphabet: The possible characters; a single one is fixed.
        least: Minimum number of characters.
        most: Maximum number of characters.
    """

    alphabet: str
    least: int
    most: int

    @property
    def size(self) -> int:
        """Number of texts of the segment."""
        lengths = range(self.least, self.most + 1)
        return sum(len(self.alphabet) ** length for length in lengths)

    @property
    def chunks(self) -> "list[Segment]":
        """Segments of at most `CHUNK` characters in place of this one."""
        if self.size == 1:
            return [self]
        whole, rest = divmod(self.least, CHUNK)
        most = max(rest, min(self.most - whole * CHUNK, CHUNK))
        parts = [Segment(self.alphabet, CHUNK, CHUNK)] * whole
        return parts + ([Segment(self.alphabet, rest, most)] if most else [])

    def describe(self) -> str:
        """Return the segment as a regular expression."""
        if self.size == 1:
            return SPECIAL.sub(r"\\\1", self.alphabet * self.least)
        short = {text: form for form, text in ALPHABETS.items()}
        characters = short.get(self.alphabet, self.alphabet)
        ends = ord(self.alphabet[0]), ord(self.alphabet[-1])
        if len(characters) > 3 and ends[1] - ends[0] == len(characters) - 1:
            characters = f"{self.alphabet[0]}-{self.alphabet[-1]}"
        count = f"{self.least},{self.most}" if self.least < self.most else self.least
        return f"[{characters}]" + ("" if count == 1 else f"{{{count}}}")

    def texts(self, numbers: np.ndarray) -> np.ndarray:
        """Return the texts of numbers (n,) below the size of the segment."""
        if self.size == 1:
            return np.full(len(numbers), self.alphabet * self.least)
        letters = np.array(list(self.alphabet))
        found = np.full(len(numbers), "", f"<U{self.most}")
        begin = 0
        for length in range(self.least, self.most + 1):
            end = begin + len(letters) ** length
            chosen = (numbers >= begin) & (numbers < end)
            rest, own = numbers[chosen] - begin, np.full(int(chosen.sum()), "")
            for _ in range(length):
                rest, digit = np.divmod(rest, len(letters))
                own = np.char.add(letters[digit], own)
            found[chosen] = own
            begin = end
        return found


Pattern = tuple[Segment, ...]
"""Segments that follow each other."""


def describe(pattern: Pattern) -> str:
    """Return a pattern as a regular expression."""
    return "".join(segment.describe() for segment in pattern)


def learn_pattern(texts: Sequence[str]) -> Pattern | None:
    """Return the pattern of texts, or None if they are too irregular or too few.

    Args:
        texts: Different texts. Characters that all of them have in the same place are
            fixed in the pattern.
    """
    lengths = {len(text) for text in texts}
    if len(texts) < MIN_TEXTS or max(lengths) > MAX_LENGTH or 0 in lengths:
        return None
    found = _by_place(texts) if len(lengths) == 1 else None
    return found or _by_runs(texts)


def _by_place(texts: Sequence[str]) -> Pattern | None:
    """Return the pattern of texts of equal length, place by place."""
    segments: list[Segment] = []
    for characters in map(set, zip(*texts, strict=True)):
        alphabet = _alphabet(characters, len(texts))
        if alphabet is None:
            return None
        last = segments[-1] if segments else None
        if last is not None and last.alphabet == alphabet:
            longer = replace(last, least=last.least + 1, most=last.most + 1)
            segments[-1] = longer
        else:
            segments.append(Segment(alphabet, 1, 1))
    return tuple(segments)


def _alphabet(characters: set[str], texts: int) -> str | None:
    """Return the alphabet of a place, None if it has characters of no alphabet."""
    if len(characters) == 1:
        return "".join(characters)
    fitting = (text for text in ALPHABETS.values() if characters.issubset(text))
    widest = next(fitting, None)
    if widest is not None and texts >= TEXTS_PER_CHARACTER * len(widest):
        return "".join(sorted(characters))
    return widest


def _by_runs(texts: Sequence[str]) -> Pattern | None:
    """Return the pattern of texts with the same kinds of runs of characters."""
    runs = [RUN.findall(text) for text in texts]
    if len({len(each) for each in runs}) > 1 or len(runs[0]) > MAX_RUNS:
        return None
    segments: list[Segment] = []
    for column in zip(*runs, strict=True):
        found = _run_segments(column)
        if found is None:
            return None
        segments += found
    return tuple(segments)


def _run_segments(runs: Sequence[str]) -> list[Segment] | None:
    """Return the segments of the runs of one place, None if these are irregular."""
    if len(set(runs)) == 1:
        return [Segment(character, 1, 1) for character in runs[0]]
    lengths = [len(run) for run in runs]
    least, most = min(lengths), max(lengths)
    for alphabet in (DIGITS, LOWER, UPPER):
        if all(set(run).issubset(alphabet) for run in runs):
            return [Segment(alphabet, least, most)]
    if all(run.istitle() and run.isascii() for run in runs):  # as names are
        tail = Segment(LOWER, least - 1, most - 1)
        return [Segment(UPPER, 1, 1), *([tail] if most > 1 else [])]
    if all(run.isascii() and run.isalpha() for run in runs):
        return [Segment(ALPHABETS["A-Za-z"], least, most)]
    return None


def widened(pattern: Pattern, count: int) -> Pattern:
    """Return a pattern with at least `count` texts, with more digits if need be."""

    def size(segments: Pattern) -> int:
        return math.prod(chunk.size for each in segments for chunk in each.chunks)

    if size(pattern) >= count:
        return pattern
    digits = [k for k, s in enumerate(pattern) if set(s.alphabet).issubset(DIGITS)]
    last = max((k for k in digits if pattern[k].size > 1), default=None)
    if last is None:
        pattern, last = (*pattern, Segment(DIGITS, 0, 0)), len(pattern)
    longer = replace(pattern[last], alphabet=DIGITS)
    while True:
        wider = (*pattern[:last], longer, *pattern[last + 1 :])
        if size(wider) >= count:
            return wider
        longer = replace(longer, least=longer.most + 1, most=longer.most + 1)


def fill(pattern: Pattern, numbers: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return texts with a pattern, different ones for different numbers.

    Args:
        pattern: The pattern, which has at least `count` texts.
        numbers: Numbers from 0 to `count` - 1, (n,).
        count: Upper bound of the numbers.
        seed: Seed of the texts that the numbers have.
    """
    chunks = [chunk for segment in pattern for chunk in segment.chunks]
    rng = np.random.default_rng(seed)
    places = _places(numbers, _chosen(chunks, count), chunks, rng)
    texts = np.full(len(numbers), "")
    for k, chunk in enumerate(chunks):
        own = places.get(k)
        if own is None:  # not needed to tell the numbers apart
            own = scatter(numbers, int(rng.integers(2**62))) % chunk.size
        texts = np.char.add(texts, chunk.texts(own.astype(np.int64)))
    return texts


def _chosen(chunks: Sequence[Segment], count: int) -> list[int]:
    """Return the indices of segments that together have at least `count` texts."""
    order = sorted(range(len(chunks)), key=lambda k: chunks[k].size)
    enough = [k for k in order if chunks[k].size >= count]
    if enough:
        return enough[:1]
    chosen, size = list[int](), 1
    while size < count:
        chosen.append(order.pop())
        size *= chunks[chosen[-1]].size
    return chosen


def _places(
    numbers: np.ndarray,
    chosen: Sequence[int],
    chunks: Sequence[Segment],
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Return what each chosen segment counts, a permutation of the numbers."""
    size = math.prod(chunks[k].size for k in chosen)
    factor = int(rng.integers(min(size, 2**30) // 3, min(size, 2**30))) | 1
    while math.gcd(factor, size) > 1:
        factor += 2
    rest = (numbers.astype(np.int64) * factor + int(rng.integers(size))) % size
    found = {}
    for k in chosen:
        rest, found[k] = np.divmod(rest, chunks[k].size)
    return found


def scatter(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return 63-bit hashes of numbers (the finaliser of splitmix64)."""
    z = numbers.astype(np.uint64) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = (z ^ (z >> np.uint64(31))) >> np.uint64(1)
    return mixed
