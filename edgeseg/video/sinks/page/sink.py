"""The page as a sink: what the loop gives it, and the threads that do the rest."""

import logging
from typing import Any

from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.page.address import PageAddress, listening, page_address
from edgeseg.video.sinks.page.app import Pages
from edgeseg.video.sinks.page.channels import Channels
from edgeseg.video.sinks.page.figures import Figures
from edgeseg.video.sinks.page.guard import Guard
from edgeseg.video.sinks.page.previews import Previews
from edgeseg.video.sinks.page.rendering import LABELS, LIVE, VIEWS
from edgeseg.video.sinks.page.server import Server

log = logging.getLogger(__name__)


class PageSink:
    """Serves the page until it is closed.

    Three threads: the loop's own leaves copies of a few frames, one encodes them, once for all
    viewers, and one serves.
    """

    takes_pictures = False

    def __init__(self, address: PageAddress, options: SinkOptions) -> None:
        listener = listening(address)
        port: int = listener.getsockname()[1]
        self.url = address.url(port)
        """What to open in a browser, the token included."""
        self._figures = Figures(options)
        self._previews = Previews(
            options, self._figures, self._publish, fps=address.fps, quality=address.quality
        )
        self._channels = Channels(len(options.cameras), (LIVE, LABELS, *VIEWS), self._previews.want)
        self._pages = Pages(self._channels, self._figures, _hello(options, address))
        hosts = {"127.0.0.1", "localhost", "[::1]", _bracketed(address.host)}
        guard = Guard(
            self._pages.app(),
            token=address.token,
            hosts=hosts if address.is_local else None,
            cookie=f"edgeseg-{port}",
        )
        try:
            self._server = Server(guard, listener, on_tick=self._tick, on_end=self._part)
        except BaseException:
            self._previews.close()
            raise
        log.info("the page is at %s", self.url)

    def write(self, frame: FrameView) -> None:
        """Note the frame's numbers, and copy it where somebody looks and it is time."""
        self._figures.add(frame)
        self._previews.offer(frame)

    def close(self) -> None:
        """Let the viewers go and end the threads; closing twice is fine."""
        self._server.close()
        self._previews.close()

    def _publish(self, camera: int, kind: str, data: bytes) -> None:
        self._server.call(self._channels.publish, camera, kind, data)

    def _tick(self) -> None:
        """In the server's loop, every half second."""
        self._pages.send_figures()
        for viewer in self._pages.viewers:
            if viewer.is_stalled:
                log.info("a viewer took nothing for a while, and is let go")
                self._server.cut(viewer.client)

    def _part(self) -> None:
        """In the server's loop, at its end."""
        self._channels.close()
        for viewer in self._pages.viewers:
            viewer.stir()


def open_page(rest: str, wanted: SinkOptions) -> PageSink:
    """The page at `http://HOST:PORT?token=...&fps=10&quality=80`.

    Raises:
        UsageError: a host, a port or an option that is none.
        OutputError: a port that is in use or not allowed, an address of another machine.
    """
    return PageSink(page_address(rest), wanted)


def _hello(options: SinkOptions, address: PageAddress) -> dict[str, Any]:
    """What stays as it is while the page is open."""
    colors = options.labels.colors
    return {
        "title": options.title,
        "names": list(options.cameras),
        "classes": list(options.labels.names),
        "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in colors],
        "view": options.visualize,
        "alpha": options.alpha,
        "pixel_aspect": float(options.pixel_aspect),
        "preview_fps": address.fps,
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
