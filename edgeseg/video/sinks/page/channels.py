"""The newest message for each kind of viewer: who waits gets it, and nobody's queue grows."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

Wanted = Callable[[int, frozenset[str]], None]
"""Told which kinds of a camera somebody looks at."""

IDLE_S = 1.0
"""After as long without a frame viewers get the figures alone: the connection is alive."""


class Channel:
    """One kind of message of one camera; the newest only."""

    def __init__(self, channels: "Channels", camera: int, kind: str) -> None:
        self.camera, self.kind = camera, kind
        self.watchers = 0
        self.number = 0
        """Of the newest message; grows with each."""
        self.published_s = 0.0
        self._channels = channels
        self._newest = b""
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator["Channel"]:
        """Inside the block the frames of this channel are made."""
        self.watchers += 1
        self._channels.count()
        try:
            yield self
        finally:
            self.watchers -= 1
            self._channels.count()

    async def newer(self, seen: int) -> bytes | None:
        """The newest message, once its number is above `seen`; None when there is none coming.

        It also returns None after a `poke`: the caller looks whether it still wants to wait.
        """
        if self.number <= seen and not self._channels.closed:
            await self._changed.wait()
        return self._newest if self.number > seen and not self._channels.closed else None

    def publish(self, data: bytes) -> None:
        """Make `data` the newest message."""
        self._newest = data
        self.number += 1
        self.published_s = time.monotonic()
        self.poke()

    def poke(self) -> None:
        """Wake everybody who waits."""
        self._changed.set()
        self._changed = asyncio.Event()


class Channels:
    """All channels; used in the server's event loop alone."""

    def __init__(self, cameras: int, kinds: tuple[str, ...], wanted: Wanted) -> None:
        self.closed = False
        self._wanted = wanted
        self._told: list[frozenset[str]] = [frozenset()] * cameras
        self._all = {
            (camera, kind): Channel(self, camera, kind)
            for camera in range(cameras)
            for kind in kinds
        }

    def of(self, camera: int, kind: str) -> Channel:
        """The channel of this kind."""
        return self._all[camera, kind]

    def publish(self, camera: int, kind: str, data: bytes) -> None:
        """Hand a message to all who wait for it."""
        self._all[camera, kind].publish(data)

    def idle(self, kind: str) -> list[Channel]:
        """Those of a kind where somebody waits and nothing came for a while."""
        late_s = time.monotonic() - IDLE_S
        return [
            channel
            for channel in self._all.values()
            if channel.kind == kind and channel.watchers and channel.published_s < late_s
        ]

    def count(self) -> None:
        """Tell who makes the frames what is looked at."""
        for camera, told in enumerate(self._told):
            kinds = frozenset(
                kind
                for (of, kind), channel in self._all.items()
                if of == camera and channel.watchers
            )
            if kinds != told:
                self._told[camera] = kinds
                self._wanted(camera, kinds)

    def close(self) -> None:
        """Let everybody go who waits."""
        self.closed = True
        for channel in self._all.values():
            channel.poke()
