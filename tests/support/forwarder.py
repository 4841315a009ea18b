"""A program that passes on TCP connections: `python -m tests.support.forwarder`.

Ended and started again, it is to clients what the restart of a server is, and the
server behind it keeps its state.
"""

import asyncio
import sys
from functools import partial


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write all that comes from one end of a connection to the other end."""
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def forward(
    port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Connect a client to the server behind, until both have ended or one breaks."""
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    ways = copy(reader, there_writer), copy(there_reader, writer)
    try:
        # A broken connection of one end breaks the other.
        await asyncio.gather(*ways)
    except ConnectionError:
        print("a connection broke", file=sys.stderr)
    finally:
        there_writer.close()
        writer.close()


async def serve(address: str, port: int, behind: int) -> None:
    """Pass on connections until the process ends.

    Args:
        address: Address to listen at.
        port: Port to listen at.
        behind: Port of the server on the loopback interface.
    """
    server = await asyncio.start_server(partial(forward, behind), address, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
