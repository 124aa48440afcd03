"""An MJPEG server for tests, in a thread of this process."""

import base64
import contextlib
import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from edgeseg.types import Pixels

REALM, NONCE = "camera", "0a4f113b"


def jpeg(picture: Pixels) -> bytes:
    """Of an RGB or a grey picture."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95)
    return file.getvalue()


def grey_level(level: int, height: int = 48, width: int = 64) -> bytes:
    """A JPEG of one level in all three channels."""
    return jpeg(np.full((height, width, 3), level, np.uint8))


class MjpegServer(ThreadingHTTPServer):
    """Sends what `parts` yields as parts; `drop` cuts all connections."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, parts: Callable[[], Iterator[bytes]], *, port: int = 0) -> None:
        self.parts = parts
        self.connections: list[Handler] = []
        self.files: dict[str, Path] = {}
        super().__init__(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def stop(self) -> None:
        self.shutdown()
        self._thread.join(5)
        self.drop()
        self.server_close()

    def drop(self) -> None:
        for handler in self.connections:
            with contextlib.suppress(OSError):
                handler.connection.shutdown(2)
        self.connections.clear()


class Handler(BaseHTTPRequestHandler):
    server: MjpegServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            if self.path in self.server.files:
                self._body("video/mp4", self.server.files[self.path].read_bytes())
                return
            answer = getattr(self, self.path.strip("/").partition("?")[0], None)
            if answer is None:
                self.send_error(404)
            else:
                answer()

    def log_message(self, *_: object) -> None:
        pass

    def video(self, *, lengths: bool = True) -> None:
        """MJPEG with the length of every part."""
        self._head("multipart/x-mixed-replace; boundary=frame")
        for part in self.server.parts():
            length = f"Content-Length: {len(part)}\r\n" if lengths else ""
            head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            self.wfile.write(head.encode() + part + b"\r\n")

    def unsized(self) -> None:
        self.video(lengths=False)

    def chunked(self) -> None:
        self._head("multipart/x-mixed-replace;boundary=--frame", "Transfer-Encoding: chunked")
        for part in self.server.parts():
            body = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + part + b"\r\n"
            for piece in (body[:100], body[100:]):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    def basic(self) -> None:
        expected = "Basic " + base64.b64encode(b"user:pa:ss@w").decode()
        self._guarded(self.headers["Authorization"] == expected, f'Basic realm="{REALM}"')

    def digest(self) -> None:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        secret = md5(f"user:{REALM}:pa:ss@w")
        expected = md5(f"{secret}:{NONCE}:{md5('GET:/digest')}")
        given = self.headers["Authorization"] or ""
        challenge = f'Digest realm="{REALM}", nonce="{NONCE}"'
        self._guarded(f'response="{expected}"' in given, challenge)

    def snapshot(self) -> None:
        self._body("image/jpeg", grey_level(99))

    def page(self) -> None:
        self._body("text/html", b"<html><img src=/video></html>")

    def nothing(self) -> None:
        self._body("application/octet-stream", b"no video at all" * 100)

    def forbidden(self) -> None:
        self.send_error(403)

    def silent(self) -> None:
        self._head("multipart/x-mixed-replace; boundary=frame")
        time.sleep(30)

    def _guarded(self, welcome: bool, challenge: str) -> None:
        if welcome:
            self.video()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _head(self, kind: str, *more: str) -> None:
        self.server.connections.append(self)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        for line in more:
            self.send_header(*line.split(": "))
        self.end_headers()

    def _body(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
