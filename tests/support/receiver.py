"""An HTTP server that stores the JSON objects that it gets."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Requests to a local HTTP server, and the answers that it gives.

    Attributes:
        url: URL of the server.
        got: The JSON objects that it accepted or refused.
        statuses: Status of each of the next answers; then 200.
    """

    def __init__(self) -> None:
        self.url = ""
        self.got: list[dict[str, Any]] = []
        self.statuses: list[int] = []


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a server on a free port of this machine."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            receiver.got.append(json.loads(self.rfile.read(size)))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
