"""Ports for servers of tests."""

import socket


def free_port() -> int:
    """Return the number of a port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
