"""The web server in a thread of its own, with its own event loop; signals stay the process's."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from edgeseg.errors import OutputError

START_S = 10.0
"""The longest that a start may take."""
_PARTING_S = 0.3
"""What viewers get to take the news that it is over; then their connections are cut."""
_STOP_S = 1.0
_TICK_S = 0.5


class Server:
    """Serves `app` at a listening socket from the moment it is made until `close`."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        on_tick: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._on_tick, self._on_end = on_tick, on_end
        self._server = uvicorn.Server(_config(app))
        self._failure: BaseException | None = None
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="page server", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S) or not self._server.started:
            self.close()
            raise OutputError(
                f"the page's server does not start: {self._failure or 'it takes too long'}",
                fix="pip install --upgrade 'edgeseg[serve]'",
            ) from self._failure

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """Have the server's loop call `function` soon; nothing happens once it is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def cut(self, client: tuple[str, int] | None) -> None:
        """End the connection of a client at once, with what waits in it; in the loop only."""
        for connection in list(self._server.server_state.connections):
            if client is None or getattr(connection, "client", None) == tuple(client):
                connection.transport.abort()

    def close(self) -> None:
        """End all connections and the thread; closing twice is fine."""
        self.call(self._end.set)
        self._thread.join(5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._listener.close()
            self._loop.close()
            self._started.set()

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        ending = asyncio.ensure_future(self._end.wait())
        both, either = {serving, ending}, asyncio.FIRST_COMPLETED
        while not self._server.started and not ending.done() and not serving.done():
            await asyncio.wait(both, timeout=0.01, return_when=either)
        self._failure = serving.exception() if serving.done() else None
        self._started.set()
        while not ending.done() and not serving.done():
            await asyncio.wait(both, timeout=_TICK_S, return_when=either)
            self._on_tick()
        self._on_end()
        await self._parted()
        self.cut(None)
        self._server.force_exit = self._server.should_exit = True
        await asyncio.wait({serving}, timeout=_STOP_S)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _parted(self) -> None:
        """Wait until all connections are closed, or long enough."""
        end_s = time.monotonic() + _PARTING_S
        while self._server.server_state.connections and time.monotonic() < end_s:
            await asyncio.sleep(0.01)


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1024,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=256,
    )
