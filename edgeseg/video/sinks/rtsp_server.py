"""A stream served by this process, through GStreamer's RTSP server."""

import logging
import threading
from typing import Any

from av import FFmpegError

from edgeseg.errors import OutputError, UsageError
from edgeseg.video.gstreamer import glib, gst, require_elements, rtsp_server
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.live_encoder import LiveEncoder, Newest, NewestPicture, opened_context

LAUNCH = (
    "( appsrc name=pictures is-live=true do-timestamp=true format=time "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au "
    "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
"""Parameter sets go out with every key frame, so that a viewer may come at any time."""

_END_S = 0.4
_REPEAT_S = 0.2
"""After this long without a picture the last one is sent again, so that viewers stay and can come
while a camera is lost."""
_BACKLOG_BYTES = 4 << 20
"""What waits for a viewer who has asked and does not play yet; more is left out."""

log = logging.getLogger(__name__)


class RtspServer:
    """Encodes the newest picture while somebody watches, in a thread of its own.

    All viewers share one encoding. The loop hands over a copy of each picture, and not even that
    while nobody watches.
    """

    takes_pictures = True

    def __init__(
        self, wanted: SinkOptions, *, host: str, port: int, path: str, codec: str = "libx264"
    ) -> None:
        require_elements("appsrc", "h264parse", "rtph264pay")
        self._size = wanted.size
        self._encoder = LiveEncoder(opened_context(codec, wanted.size, wanted.fps), wanted.size)
        self._newest = NewestPicture(wanted.size)
        self._source: Any = None
        """The appsrc of the media that viewers share; None while nobody watches."""
        self._context: Any = glib().MainContext.new()
        self._loop: Any = glib().MainLoop.new(self._context, False)
        self._server: Any = _configured(host, port, path, self._on_configure, self._on_client)
        self._listening: Any = _listening(self._server, self._context, f"{host}:{port}")
        self.port: int = self._server.get_bound_port()
        self._threads = [
            threading.Thread(target=self._serve, name="rtsp server", daemon=True),
            threading.Thread(target=self._encode, name="rtsp encoder", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        log.info("the stream is at rtsp://%s:%d%s", host, self.port, path)

    def write(self, frame: FrameView) -> None:
        """Let viewers see `frame.picture`; nothing is done while there are none."""
        if frame.picture.shape != (*self._size, 3):
            raise UsageError(
                f"the sink takes pictures of {self._size}, got the shape {frame.picture.shape}",
                fix="open the sink with Overlay.picture_size",
            )
        if self._newest.closed:
            raise OutputError("the stream is closed already", fix="write before close()")
        if self._source is not None:
            self._newest.put(frame.picture)

    def close(self) -> None:
        """Send the viewers away and free the port."""
        if self._newest.closed:
            return
        self._newest.close()
        self._listening.destroy()
        remove = rtsp_server().RTSPFilterResult.REMOVE
        self._server.client_filter(lambda *_: remove)
        _quit_inside(self._loop, self._context)
        for thread in self._threads:
            thread.join(_END_S)
        # The server holds on to methods of this sink: apart, both can be freed, and their sockets.
        self._source = self._listening = self._server = self._loop = self._context = None

    def _serve(self) -> None:
        context, loop = self._context, self._loop
        context.push_thread_default()
        try:
            loop.run()
        finally:
            context.pop_thread_default()

    def _on_configure(self, _factory: Any, media: Any) -> None:
        """Somebody begins to watch: a pipeline was made, which is fed from now on."""
        source = media.get_element().get_by_name("pictures")
        media.connect("unprepared", self._on_unprepared)
        self._encoder.next_is_key()
        self._source = source

    def _on_unprepared(self, media: Any) -> None:
        if self._source is media.get_element().get_by_name("pictures"):
            self._source = None

    def _on_client(self, _server: Any, client: Any) -> None:
        client.connect("play-request", lambda *_: self._encoder.next_is_key())

    def _encode(self) -> None:
        while not self._newest.closed:
            newest, source = self._newest.take(_REPEAT_S), self._source
            if source is None:
                continue
            try:
                self._push(source, newest or self._newest.again())
            except FFmpegError as error:
                log.warning("a picture of the stream is left out: %s", error)

    def _push(self, source: Any, newest: Newest) -> None:
        if source.get_property("current-level-bytes") > _BACKLOG_BYTES:
            self._encoder.next_is_key()
            return
        for packet in self._encoder.encode(newest):
            buffer = gst().Buffer.new_wrapped(bytes(packet))
            if source.emit("push-buffer", buffer) != gst().FlowReturn.OK:
                self._encoder.next_is_key()
                return


def _quit_inside(loop: Any, context: Any) -> None:
    """End `loop` by its own hand; from outside it would be too early before it runs."""
    last = glib().idle_source_new()
    last.set_callback(lambda *_: loop.quit())
    last.attach(context)


def _configured(host: str, port: int, path: str, on_configure: Any, on_client: Any) -> Any:
    module = rtsp_server()
    server = module.RTSPServer.new()
    server.set_address(host.strip("[]"))
    server.set_service(str(port))
    factory = module.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    factory.connect("media-configure", on_configure)
    server.get_mount_points().add_factory(path, factory)
    server.connect("client-connected", on_client)
    return server


def _listening(server: Any, context: Any, where: str) -> Any:
    """The GLib source that takes new viewers, at work in `context`."""
    try:
        source = server.create_source(None)
    except glib().Error as error:
        raise OutputError(
            f"rtsp://{where} cannot be served: {error.message}",
            fix="choose another port, or end what uses it: ss -ltnp shows which; the address must "
            "be one of this machine",
        ) from error
    source.attach(context)
    return source
