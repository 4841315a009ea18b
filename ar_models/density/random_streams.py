"""Seeds of independent random streams."""

import hashlib


def stream_seed(seed: int, stream: int) -> int:
    """Return the seed of one of many random streams: 32 bits, torch's limit on CPUs.

    With a hash of both arguments, two of ten thousand streams would coincide in one job
    of a hundred. Instead, the seed fixes a starting point from which streams are
    counted, which keeps them apart; an invertible mixing step spreads neighbours.

    Args:
        seed: Seed of the job.
        stream: Number of the stream within the job, such as that of a shard.
    """
    start = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4])
    mixed = (start + stream) % 2**32
    for multiplier in (0x7FEB352D, 0x846CA68B):
        mixed = (mixed ^ mixed >> 16) * multiplier % 2**32
    return mixed ^ mixed >> 16
