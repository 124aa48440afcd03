"""An RTSP server on 127.0.0.1, for tests: this file is run by a Python that has GStreamer.

It prints its port and serves until its standard input is closed:

/clock   a picture that says when it was made: the milliseconds of CLOCK_MONOTONIC as blocks, the
         highest of 32 bits first, in two rows of 16; white is 1
/tcp     the same, by TCP alone
/clip    the H.264 of --clip, from its beginning for every viewer
/sound   no video
/in      takes a stream that is published (RECORD), and writes its H.264 to --record
"""

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_S = 20
WIDTH, HEIGHT = 160, 120
WRAP_S = 2**32 / 1000
"""After this long the time in the picture begins at 0 again."""
H264 = "h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
CLOCK = (
    "( appsrc name=clock is-live=true do-timestamp=true format=time "
    "caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 threads=1 qp-min=10 qp-max=20 ! "
    f"{H264} )"
)
CLIP = f"( filesrc location={{clip}} ! qtdemux ! {H264} )"
SOUND = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )"
RECORD = (
    "( rtph264depay name=depay0 ! h264parse config-interval=-1 ! "
    "video/x-h264,stream-format=byte-stream,alignment=au ! "
    "filesink buffer-mode=unbuffered location={record} )"
)


class RtspServer:
    """The server as a process of `python`; `start` again after `kill` takes the same port."""

    def __init__(self, python: Path, *options: str) -> None:
        self.port = 0
        self._command = [str(python), __file__, *options]
        self._process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        command = [*self._command, f"--port={self.port}", *options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        watchdog = threading.Timer(START_S, self._process.kill)
        watchdog.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        watchdog.cancel()
        watchdog.join()
        assert line.strip().isdecimal(), f"the RTSP server did not start: {line!r}"
        self.port = int(line)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def uri(self, path: str, *, user: str = "") -> str:
        return f"rtsp://{user and f'{user}@'}127.0.0.1:{self.port}/{path}"


@contextlib.contextmanager
def serving(python: Path, *options: str) -> Iterator[RtspServer]:
    """A server that runs inside the block."""
    server = RtspServer(python, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def main() -> None:
    import gi

    for name in ("Gst", "GstRtsp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    options = _parser().parse_args()
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    if options.user:
        server.set_auth(_auth(options))
    points = server.get_mount_points()
    clock = CLOCK.format(width=options.width, height=options.height, fps=options.fps)
    paths = {"/clock": clock, "/tcp": clock, "/sound": SOUND}
    if options.clip:
        paths["/clip"] = CLIP.format(clip=options.clip)
    if options.record:
        paths["/in"] = RECORD.format(record=options.record)
    for path, launch in paths.items():
        points.add_factory(path, _factory(path, launch, options))
    if server.attach(None) == 0:
        sys.exit(f"port {options.port} cannot be used")
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def _end_with_the_caller() -> None:
    sys.stdin.read()
    os._exit(0)


def _factory(path: str, launch: str, options: argparse.Namespace) -> Any:
    from gi.repository import GstRtsp, GstRtspServer

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_latency(0)
    tcp, udp = GstRtsp.RTSPLowerTrans.TCP, GstRtsp.RTSPLowerTrans.UDP
    factory.set_protocols(tcp if path == "/tcp" else tcp | udp)
    if path == "/in":
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    if "appsrc" in launch:
        factory.connect("media-configure", _show_the_time, options)
    if options.user:
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("access", "construct"):
            permissions.add_permission_for_role("viewer", f"media.factory.{right}", True)
        factory.set_permissions(permissions)
    return factory


def _auth(options: argparse.Namespace) -> Any:
    from gi.repository import GstRtsp, GstRtspServer

    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if options.digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    else:
        basic = GstRtspServer.RTSPAuth.make_basic(options.user, options.password)
        auth.add_basic(basic, token)
    return auth


def _show_the_time(_factory: Any, media: Any, options: argparse.Namespace) -> None:
    from gi.repository import GLib, Gst

    source = media.get_element().get_by_name_recurse_up("clock")

    def push() -> bool:
        buffer = Gst.Buffer.new_wrapped(picture(options.width, options.height))
        return bool(source.emit("push-buffer", buffer) == Gst.FlowReturn.OK)

    GLib.timeout_add(1000 // options.fps, push)


def picture(width: int, height: int) -> bytes:
    """An I420 picture of this moment."""
    bits = f"{time.monotonic_ns() // 1_000_000 % 2**32:032b}"
    rows = []
    for half in (bits[:16], bits[16:]):
        line = b"".join((b"\xeb" if bit == "1" else b"\x10") * (width // 16) for bit in half)
        rows.append(line * (height // 2))
    return b"".join(rows) + b"\x80" * (width * height // 2)


def made_s(pixels: Any) -> float:
    """The time in an I420 picture of `/clock`, in seconds cut to whole milliseconds."""
    height, width = pixels.shape[0] * 2 // 3, pixels.shape[1]
    blocks = pixels[:height].reshape(2, height // 2, 16, width // 16)
    bits = blocks[:, height // 4, :, width // 32].ravel() > 128
    return int("".join("1" if bit else "0" for bit in bits), 2) / 1000


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--port", type=int, default=0, help="0 takes a free one")
    made.add_argument("--clip", help="an MP4 file with H.264")
    made.add_argument("--record", help="where to write what is published")
    made.add_argument("--user")
    made.add_argument("--password", default="")
    made.add_argument("--digest", action="store_true", help="instead of basic authentication")
    made.add_argument("--width", type=int, default=WIDTH)
    made.add_argument("--height", type=int, default=HEIGHT)
    made.add_argument("--fps", type=int, default=30)
    return made


if __name__ == "__main__":
    main()
