"""What a user may write for an RTSP sink."""

import pytest

from edgeseg.errors import UsageError
from edgeseg.types import Labels, Size
from edgeseg.video import SinkOptions, open_sink
from edgeseg.video.sinks.rtsp import rtsp_address

pytestmark = pytest.mark.needs("av", "cv2")

WANTED = SinkOptions(
    size=Size(96, 128), fps=None, labels=Labels(names=("Road",), colors=((1, 2, 3),))
)


@pytest.mark.parametrize(
    ("rest", "serves", "host", "port", "path"),
    [
        ("@:8554/seg", True, "127.0.0.1", 8554, "/seg"),
        ("@/", True, "127.0.0.1", 8554, "/"),
        ("@0.0.0.0:9000/a/b", True, "0.0.0.0", 9000, "/a/b"),
        ("@[::1]:9000/x", True, "[::1]", 9000, "/x"),
        ("media.local/live", False, "media.local", 554, "/live"),
        ("u:p@w@10.0.0.2:8554/live?token=1", False, "10.0.0.2", 8554, "/live?token=1"),
    ],
)
def test_address_says_whether_to_serve_or_to_publish(
    rest: str, serves: bool, host: str, port: int, path: str
) -> None:
    address = rtsp_address(rest)
    assert (address.serves, address.host, address.port, address.path) == (serves, host, port, path)
    assert "p@w" not in address.shown


@pytest.mark.parametrize("rest", ["", "/live", ":99999/x", "@:99999/x", "u:secret@host:port/x"])
def test_address_that_is_none_is_refused_without_its_credentials(rest: str) -> None:
    with pytest.raises(UsageError, match="rtsp://") as refused:
        open_sink(f"rtsp://{rest}", WANTED)
    assert "secret" not in str(refused.value)
