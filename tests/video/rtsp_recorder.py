"""An RTSP server that takes what is published to /live: python rtsp_recorder.py PORT.

It writes "ready PORT" and then, for each frame, "frame WIDTH HEIGHT R G B" of its middle. For the
Python of the system, which has GStreamer; it ends itself after a minute.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! videoconvert "
    "! video/x-raw,format=RGBA ! appsink name=frames sync=false emit-signals=true )"
)


def configure(_factory: object, media: GstRtspServer.RTSPMedia) -> None:
    media.get_element().get_by_name("frames").connect("new-sample", tell)


def tell(sink: Gst.Element) -> Gst.FlowReturn:
    sample = sink.emit("pull-sample")
    caps = sample.get_caps().get_structure(0)
    width, height = caps.get_value("width"), caps.get_value("height")
    middle = (height // 2 * width + width // 2) * 4
    pixel = sample.get_buffer().extract_dup(middle, 3)
    print("frame", width, height, *pixel, flush=True)  # noqa: T201
    return Gst.FlowReturn.OK


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_launch(LAUNCH)
    factory.connect("media-configure", configure)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit("the port is in use")
    print("ready", server.get_bound_port(), flush=True)  # noqa: T201
    loop = GLib.MainLoop()
    GLib.timeout_add_seconds(60, loop.quit)
    loop.run()


if __name__ == "__main__":
    main()
