"""What a live page with viewers costs: its own CPU time, and the viewers as a process."""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.engines import cores
from edgeseg.video import FrameView
from edgeseg.video.sinks.page import PageSink

ROOT = Path(__file__).resolve().parent.parent
THREADS = frozenset({"page server", "page pictures"})
SETTLE_S = 2.0
"""Until the viewers are there, and what happens once has happened."""
PARTING_S = 30.0


class PageCpu:
    """CPU time of the page: of its threads, and of what it does in the loop's own.

    Inside the block every `PageSink.write` is timed; `see` is called by the loop after each frame.
    """

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self._written_s = 0.0
        self._samples: list[dict[str, float]] = []
        self._start_s: float | None = None

    def __enter__(self) -> "PageCpu":
        self._write = PageSink.write
        write = self._write

        def timed(sink: PageSink, frame: FrameView) -> None:
            start_s = time.thread_time()
            write(sink, frame)
            self._written_s += time.thread_time() - start_s

        PageSink.write = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_error: object) -> None:
        PageSink.write = self._write  # type: ignore[method-assign]

    def see(self, step: str, done: int, total: int | None) -> None:
        """Keep the first sample after a while, and the newest one."""
        del step, done, total
        now_s = time.perf_counter()
        if self._start_s is None:
            self._start_s = now_s
        if now_s - self._start_s < self._settle_s:
            return
        self._samples[1:] = [
            {"wall": now_s, "threads": threads_s(THREADS), "loop": self._written_s}
        ]

    def percent(self) -> dict[str, float]:
        """Of all cores together: the page's threads, its part in the loop's thread, and both."""
        if len(self._samples) < 2:
            raise SystemExit("the run was too short to time the page in it")
        first, last = self._samples
        whole_s = (last["wall"] - first["wall"]) * cores()
        found = {name: 100 * (last[name] - first[name]) / whole_s for name in ("threads", "loop")}
        return {**found, "both": sum(found.values()), "seconds": whole_s / cores()}


def threads_s(names: frozenset[str]) -> float:
    """CPU seconds of the threads of this process that are called so."""
    ids = [thread.native_id for thread in threading.enumerate() if thread.name in names]
    return sum(_thread_s(native_id) for native_id in ids if native_id is not None)


@contextlib.contextmanager
def viewers(url: str, count: int) -> Iterator[list[dict[str, Any]]]:
    """A process of viewers around the block; afterwards the list holds what each of them saw."""
    seen: list[dict[str, Any]] = []
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.live_viewers", url, str(count)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield seen
        said, _ = child.communicate(timeout=PARTING_S)
        seen.extend(json.loads(said))
    finally:
        child.kill()
        child.communicate()


def shown(seen: list[dict[str, Any]]) -> dict[str, float]:
    """What the viewers saw, in short."""
    rates = [one["frames"] / one["seconds"] for one in seen if one["seconds"] > 0]
    return {
        "viewers": len(seen),
        "fewest_frames": min(one["frames"] for one in seen),
        "fps": statistics.median(rates) if rates else 0.0,
        "backwards": sum(one["backwards"] for one in seen),
        "mib": sum(one["bytes"] for one in seen) / 2**20,
    }


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _thread_s(native_id: int) -> float:
    """0 where /proc does not say."""
    try:
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError):
        return 0.0
