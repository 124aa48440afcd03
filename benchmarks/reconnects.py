"""What stays behind when an RTSP server is killed and started again, many times over.

Every picture shows when it was made, so a frame under the time of another one would be seen.
"""

import argparse
import gc
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import measured, parser
from edgeseg.frames import FrameTime, Source
from edgeseg.metrics.load import resident_mib
from edgeseg.types import PixelFormat
from edgeseg.video import SourceOptions, open_source
from tests.video.rtsp_server import WRAP_S, RtspServer, made_s, serving

FRAMES = 10
"""Read after each reconnect."""
PATIENCE_S = 60


def main() -> None:
    """Measure, and write results/reconnects.json."""
    options = _parser().parse_args()

    def measure() -> dict[str, Any]:
        with serving(options.python) as server:
            return reconnects(server, options.count, options.warm_up)

    settings = {"reconnects": options.count, "warm_up": options.warm_up, "frames_each": FRAMES}
    measured("reconnects", measure, out=options.out, settings=settings, timed=False)


def reconnects(server: RtspServer, count: int, warm_up: int) -> dict[str, Any]:
    """Memory, threads and files over `count` reconnects, after `warm_up` of them."""
    wanted = SourceOptions(pixel_format=PixelFormat.I420, patience_s=PATIENCE_S)
    source = open_source(server.uri("clock"), wanted)
    try:
        reader = _Reader(source)
        for _ in range(warm_up):
            reader.survive(server)
        kept = [_kept()]
        waits_s = []
        for _ in range(count):
            waits_s.append(reader.survive(server))
            kept.append(_kept())
    finally:
        source.close()
    mib = [found["mib"] for found in kept]
    return {
        "reconnects": wanted.counts.reconnects - warm_up,
        "frames": reader.frames,
        "frames_under_another_time": reader.wrong,
        "mib": {"before": mib[0], "after": mib[-1], "most": max(mib), "growth": mib[-1] - mib[0]},
        "kib_per_reconnect": 1024 * float(np.polyfit(range(len(mib)), mib, 1)[0]),
        "threads": {"before": kept[0]["threads"], "after": kept[-1]["threads"]},
        "files": {"before": kept[0]["files"], "after": kept[-1]["files"]},
        "median_s_from_start_to_frame": statistics.median(waits_s),
    }


class _Reader:
    """Reads a source and checks the time of every frame."""

    def __init__(self, source: Source) -> None:
        self.frames = self.wrong = 0
        self._source = source
        info = source.info
        self._pixels = np.empty(info.pixel_format.frame_shape(info.size), np.uint8)
        self._last: tuple[float, FrameTime] | None = None
        self._read()

    def survive(self, server: RtspServer) -> float:
        """Kill the server and start it; return the seconds from then to the first new frame."""
        epoch = self._read()
        server.kill()
        server.start()
        began_s = time.monotonic()
        while self._read() == epoch:
            pass
        wait_s = time.monotonic() - began_s
        for _ in range(FRAMES):
            self._read()
        return wait_s

    def _read(self) -> int:
        moment = self._source.read_into(self._pixels)
        if moment is None:
            raise SystemExit("the source ended")
        made = made_s(self._pixels)
        self.frames += 1
        # Captured before it was made, or not in the order in which they were made.
        wrong = moment.captured_s % WRAP_S < made
        if self._last is not None:
            last_made, last = self._last
            in_order = made > last_made and moment.captured_s > last.captured_s
            wrong = wrong or not in_order or moment.epoch < last.epoch
        self.wrong += wrong
        self._last = made, moment
        return moment.epoch


def _kept() -> dict[str, float]:
    gc.collect()
    return {
        "mib": resident_mib() or 0.0,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=100, help="reconnects that are measured")
    made.add_argument("--warm-up", type=int, default=10, help="reconnects before")
    made.add_argument(
        "--python", type=Path, default=Path("/usr/bin/python3"), help="one that has GStreamer"
    )
    return made


if __name__ == "__main__":
    main()
