"""One open page: it is sent the newest message, and the next when it has taken that."""

import asyncio
import contextlib
import time

from starlette.websockets import WebSocket, WebSocketDisconnect

from edgeseg.video.sinks.page.address import STALLED_S
from edgeseg.video.sinks.page.channels import Channel, Channels
from edgeseg.video.sinks.page.rendering import LIVE

IN_FLIGHT = 2
"""Messages that may be under way to a viewer: one travels while it draws the other."""
GOING_AWAY = 1001


class Viewer:
    """Sends to one websocket until either side has enough.

    The viewer says `next` for each message that it has taken, `watch N` for another camera, and
    `pause` for none. So however slow its line is, what it gets is new, and no queue grows.
    """

    def __init__(self, socket: WebSocket, channels: Channels, cameras: int) -> None:
        self._socket, self._channels, self._cameras = socket, channels, cameras
        self._channel: Channel | None = channels.of(0, LIVE)
        self._in_flight = 0
        self._heard_s = time.monotonic()
        self._stirred = asyncio.Event()

    @property
    def client(self) -> tuple[str, int] | None:
        """Its address."""
        return self._socket.client

    @property
    def is_stalled(self) -> bool:
        """Whether it has not taken what it was sent, for too long."""
        return self._in_flight > 0 and time.monotonic() - self._heard_s > STALLED_S

    async def serve(self, hello: bytes) -> None:
        """Send `hello` and then what the viewer watches; returns when the connection is over."""
        await self._socket.accept()
        tasks = {
            asyncio.ensure_future(self._send_all(hello)),
            asyncio.ensure_future(self._listen()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(GOING_AWAY, "the run is over")

    def stir(self) -> None:
        """Have the sender look again at what it is to do."""
        self._stirred.set()
        if self._channel is not None:
            self._channel.poke()

    async def _send_all(self, hello: bytes) -> None:
        await self._send(hello)
        while not self._channels.closed:
            if self._channel is None:
                await self._next_stir()
            else:
                with self._channel.watched() as channel:
                    await self._send_of(channel)

    async def _send_of(self, channel: Channel) -> None:
        seen = channel.number
        while self._channel is channel and not self._channels.closed:
            if self._in_flight >= IN_FLIGHT:
                await self._next_stir()
            elif (data := await channel.newer(seen)) is not None and self._channel is channel:
                seen = channel.number
                await self._send(data)

    async def _send(self, data: bytes) -> None:
        if not self._in_flight:
            self._heard_s = time.monotonic()
        self._in_flight += 1
        await self._socket.send_bytes(data)

    async def _next_stir(self) -> None:
        await self._stirred.wait()
        self._stirred.clear()

    async def _listen(self) -> None:
        while True:
            word, _, rest = (await self._socket.receive_text()).partition(" ")
            self._heard_s = time.monotonic()
            if word == "next":
                self._in_flight = max(0, self._in_flight - 1)
            elif word == "pause":
                self._watch(None)
            elif word == "watch" and rest.isascii() and rest.isdigit():
                camera = min(int(rest), self._cameras - 1)
                self._watch(self._channels.of(camera, LIVE))
            self._stirred.set()

    def _watch(self, channel: Channel | None) -> None:
        before, self._channel = self._channel, channel
        if before is not None:
            before.poke()
