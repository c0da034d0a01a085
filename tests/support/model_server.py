"""A web server on this machine that has a model, and the faults that servers have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ModelServer:
    """What the server has, and how it behaves; tests change it between two requests.

    Attributes:
        files: Content by path.
        has_ranges: Whether it continues where a client asks it to.
        sends_length: Whether it says how long the content is.
        cuts_after: How many bytes of an answer it sends before it closes the connection.
        redirects: Where it sends a client instead, by path.
        requests: The path and the range of each request so far.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    has_ranges: bool = True
    sends_length: bool = True
    cuts_after: int | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serve_models() -> Iterator[ModelServer]:
    """Run the server until the block ends."""
    state = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.requests.append((self.path, wanted))
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.end_headers()
                return
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").partition("-")[0] or 0)
            if not state.has_ranges:
                start = 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            if state.sends_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = None if state.cuts_after is None else start + state.cuts_after
            self.wfile.write(content[start:stop])

        def log_message(self, *args: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
