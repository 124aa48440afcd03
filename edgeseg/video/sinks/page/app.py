"""What the page answers: its files, live messages, pictures for who has no page, figures."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgeseg.video.sinks.page.channels import Channel, Channels
from edgeseg.video.sinks.page.encoding import message
from edgeseg.video.sinks.page.figures import Figures
from edgeseg.video.sinks.page.rendering import LABELS, LIVE, VIEWS
from edgeseg.video.sinks.page.viewer import Viewer

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("cameras", "charts", "connection", "dom", "picture")
    },
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
BOUNDARY = "edgeseg-frame"
LABELS_WAIT_S = 5.0
"""How long /labels.png waits for a frame."""
MOST_VIEWERS = 100

Endpoint = Callable[[Request], Awaitable[Response]]


class Pages:
    """The endpoints; they run in the server's event loop."""

    def __init__(self, channels: Channels, figures: Figures, hello: dict[str, Any]) -> None:
        self._channels, self._figures = channels, figures
        self._hello = hello
        self._cameras = len(hello["names"])
        self.viewers: set[Viewer] = set()
        """The pages that are open."""

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                *(Route(path, _file(name, kind)) for path, (name, kind) in FILES.items()),
                Route("/stream.mjpg", self.stream),
                Route("/labels.png", self.labels),
                Route("/stats.json", self.stats),
                WebSocketRoute("/live", self.live),
            ]
        )

    async def live(self, socket: WebSocket) -> None:
        """The messages of one page."""
        if len(self.viewers) >= MOST_VIEWERS:
            await socket.send_denial_response(PlainTextResponse("too many viewers", 503))
            return
        viewer = Viewer(socket, self._channels, self._cameras)
        self.viewers.add(viewer)
        self._figures.viewers = len(self.viewers)
        hello = message({"kind": "hello", **self._hello, **self._figures.live()})
        try:
            with contextlib.suppress(WebSocketDisconnect):
                await viewer.serve(hello)
        finally:
            self.viewers.discard(viewer)
            self._figures.viewers = len(self.viewers)

    async def stream(self, request: Request) -> Response:
        """The picture as one endless multipart answer, for `<img>` and video players."""
        view = request.query_params.get("view", "overlay")
        if view not in VIEWS:
            return PlainTextResponse(f"view is one of {', '.join(VIEWS)}\n", 400)
        channel = self._channel(request, view)
        if channel is None:
            return self._no_camera()
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return StreamingResponse(_parts(channel), media_type=kind)

    async def labels(self, request: Request) -> Response:
        """The mask of the next frame, at its full size."""
        channel = self._channel(request, LABELS)
        if channel is None:
            return self._no_camera()
        with channel.watched():
            try:
                data = await asyncio.wait_for(channel.newer(channel.number), LABELS_WAIT_S)
            except asyncio.TimeoutError:
                data = None
        if data is None:
            return PlainTextResponse(f"no frame came within {LABELS_WAIT_S:g} s\n", 503)
        return Response(data, media_type="image/png")

    async def stats(self, request: Request) -> Response:
        """The figures of all cameras."""
        del request
        return JSONResponse(self._figures.document())

    def send_figures(self) -> None:
        """Tell viewers for whom no frame came how things are: they know that somebody is there."""
        for channel in self._channels.idle(LIVE):
            channel.publish(message({"kind": "figures", **self._figures.live()}))

    def _channel(self, request: Request, kind: str) -> Channel | None:
        text = request.query_params.get("camera", "0")
        if not (text.isascii() and text.isdigit() and int(text) < self._cameras):
            return None
        return self._channels.of(int(text), kind)

    def _no_camera(self) -> Response:
        return PlainTextResponse(f"camera is a number from 0 to {self._cameras - 1}\n", 404)


def _file(name: str, media_type: str) -> Endpoint:
    data = (STATIC / name).read_bytes()

    async def send(request: Request) -> Response:
        del request
        return Response(data, media_type=media_type, headers={"cache-control": "no-cache"})

    return send


async def _parts(channel: Channel) -> AsyncIterator[bytes]:
    """Each frame as a part; the boundary behind it lets it be shown at once."""
    with channel.watched():
        yield f"--{BOUNDARY}\r\n".encode()
        seen = channel.number
        while (data := await channel.newer(seen)) is not None:
            seen = channel.number
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            yield b"".join((head.encode(), data, f"\r\n--{BOUNDARY}\r\n".encode()))
