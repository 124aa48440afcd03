"""What it takes to bring a frame to an NVIDIA GPU and its labels back, without TensorRT.

The memory layer, streams, events and captured graphs are used as the frame loop uses them, by both
packages: mapped, managed and copied memory at three sizes. A small kernel stands in for the
network, and its labels are checked. It needs an NVIDIA GPU with compute capability 7.5 or newer;
without one it says so and ends with 4. No GPU was at hand: it never ran on one.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.device_kernel import Brightest, labels_of
from benchmarks.record import measured, parser
from edgeseg.device.board import board_state
from edgeseg.device.choice import PACKAGES, mode_for, open_device
from edgeseg.device.memory import Block, Device, Event, Graph, Kind, MemoryMode, Stream
from edgeseg.errors import DeviceError, EdgesegError, MissingPackage
from edgeseg.metrics.latency import summarise
from edgeseg.types import Pixels, Size

SIZES = (Size(480, 640), Size(720, 1280), Size(1080, 1920))
MODES: tuple[MemoryMode, ...] = ("mapped", "managed", "copy")
SHARED = {"mapped": Kind.MAPPED, "managed": Kind.MANAGED}
WARM_UP = 10
WORK = 50
"""Launches of the kernel in the frame that shows overlap: a network takes longer than a copy."""


@dataclass(kw_only=True)
class Lane:
    """One frame in flight: its memory on both sides, and the graph that takes it through."""

    stream: Stream
    frame: Block
    labels: Block
    frame_on_gpu: Block
    labels_on_gpu: Block
    start: Event
    end: Event
    graph: Graph | None = None

    def launch(self) -> None:
        """Put one frame into the stream."""
        assert self.graph is not None
        self.attach()
        self.start.record(self.stream)
        self.graph.launch(self.stream)
        self.detach()
        self.end.record(self.stream)

    def wait(self) -> float:
        """Milliseconds on the GPU, once the labels are there."""
        self.end.synchronize()
        return self.end.ms_since(self.start)

    def attach(self) -> None:
        """Hand managed memory to the stream; the rest needs no handing."""
        for block in (self.frame, self.labels):
            block.attach(self.stream)

    def detach(self) -> None:
        """Hand it back to the CPU, behind what is in the stream."""
        for block in (self.frame, self.labels):
            block.detach()


def main() -> None:
    """Measure, and write results/device_memory.json."""
    options = _parser().parse_args()
    settings = {"frames": options.frames, "sync": "blocking", "work": WORK}
    try:
        measured(
            "device_memory",
            lambda: with_every_package(options.frames),
            out=options.out,
            settings=settings,
        )
    except EdgesegError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def with_every_package(frames: int) -> dict[str, Any]:
    """The figures by package, and which packages are left out.

    Raises:
        DeviceError: no GPU, or no driver.
        MissingPackage: neither package is installed.
    """
    found: dict[str, Any] = {}
    missing: dict[str, MissingPackage] = {}
    for name in PACKAGES:
        try:
            device = open_device(package=name)
        except MissingPackage as error:
            missing[name] = error
            continue
        try:
            found[name] = of_device(device, frames)
        finally:
            device.close()
    if not found:
        raise next(iter(missing.values()))
    return {
        "packages": found,
        "left_out": {name: error.problem for name, error in missing.items()},
        "board": asdict(board_state()),
    }


def of_device(device: Device, frames: int) -> dict[str, Any]:
    """What the GPU is, and the times of each size and mode."""
    with device.active():
        kernel = Brightest()
        modes = [mode for mode in MODES if mode != "mapped" or device.facts.can_map_host]
        return {
            "package": device.package,
            "gpu": asdict(device.facts),
            "auto": mode_for(device.facts),
            "sizes": {
                str(size): {
                    **{mode: one_at_a_time(device, kernel, size, mode, frames) for mode in modes},
                    "overlap": overlap(device, kernel, size, frames),
                }
                for size in SIZES
            },
        }


def one_at_a_time(
    device: Device, kernel: Brightest, size: Size, mode: MemoryMode, frames: int
) -> dict[str, Any]:
    """Wall and GPU time from the bytes of a frame to its labels in ordinary memory."""
    picture = _picture(size)
    expected, labels = labels_of(picture), np.empty(size, np.uint8)
    wall_ms, gpu_ms = [], []
    with ExitStack() as closing:
        lane = _lane(device, kernel, size, mode, 1, closing, _stream(device, closing))
        for _ in range(WARM_UP + frames):
            start = time.perf_counter()
            lane.frame.host[: picture.size] = picture.reshape(-1)
            lane.launch()
            gpu_ms.append(lane.wait())
            labels.reshape(-1)[:] = lane.labels.host[: labels.size]
            wall_ms.append(1e3 * (time.perf_counter() - start))
    _check(labels, expected, f"{mode} at {size}")
    return {
        "wall_ms": asdict(summarise(wall_ms[WARM_UP:])),
        "gpu_ms": asdict(summarise(gpu_ms[WARM_UP:])),
        "copies_per_frame": 2 if mode == "copy" else 0,
    }


def overlap(device: Device, kernel: Brightest, size: Size, frames: int) -> dict[str, float]:
    """Milliseconds a frame in copy mode, two in flight: in one stream, and in one each."""
    with ExitStack() as closing:
        streams = [_stream(device, closing) for _ in range(2)]
        ways = {"one_stream_ms": (streams[0], streams[0]), "two_streams_ms": tuple(streams)}
        lanes = {
            name: [_lane(device, kernel, size, "copy", WORK, closing, one) for one in used]
            for name, used in ways.items()
        }
        found = {name: _pairs_ms(used, frames) for name, used in lanes.items()}
    found["ratio"] = found["one_stream_ms"] / found["two_streams_ms"]
    return found


def _pairs_ms(lanes: list[Lane], frames: int) -> float:
    """The mean per frame of pairs that are launched together and waited for together."""
    start = time.perf_counter()
    for index in range(WARM_UP + frames):
        if index == WARM_UP:
            start = time.perf_counter()
        for lane in lanes:
            lane.launch()
        for lane in lanes:
            lane.wait()
    return 1e3 * (time.perf_counter() - start) / (frames * len(lanes))


def _lane(
    device: Device, kernel: Brightest, size: Size, mode: MemoryMode, work: int,
    closing: ExitStack, stream: Stream,
) -> Lane:  # fmt: skip
    """Memory for one frame and the graph that was captured for it; `closing` frees both."""

    def allocate(kind: Kind, nbytes: int) -> Block:
        block = device.allocate(kind, nbytes)
        closing.callback(block.free)
        return block

    pixels = size.height * size.width
    near = [allocate(SHARED.get(mode, Kind.PINNED), nbytes) for nbytes in (3 * pixels, pixels)]
    far = [allocate(Kind.DEVICE, block.nbytes) for block in near] if mode == "copy" else near
    events = [device.event(blocking=True) for _ in range(2)]
    for event in events:
        closing.callback(event.close)
    lane = Lane(
        stream=stream, frame=near[0], labels=near[1], frame_on_gpu=far[0], labels_on_gpu=far[1],
        start=events[0], end=events[1],
    )  # fmt: skip
    lane.graph = _captured(device, lane, lambda: [
        kernel.launch(far[0].pointer, far[1].pointer, pixels, stream) for _ in range(work)
    ])  # fmt: skip
    closing.callback(lane.graph.close)
    return lane


def _captured(device: Device, lane: Lane, work: Callable[[], object]) -> Graph:
    lane.attach()
    work()  # a kernel is loaded by its first launch, which must not be a captured one
    lane.detach()
    lane.stream.synchronize()
    device.begin_capture(lane.stream)
    if lane.frame_on_gpu is not lane.frame:
        device.copy(lane.frame_on_gpu, lane.frame, lane.stream)
    work()
    if lane.labels_on_gpu is not lane.labels:
        device.copy(lane.labels, lane.labels_on_gpu, lane.stream)
    return device.end_capture(lane.stream)


def _stream(device: Device, closing: ExitStack) -> Stream:
    stream = device.stream()
    closing.callback(stream.close)
    return stream


def _picture(size: Size) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (*size, 3), dtype=np.uint8)


def _check(labels: Pixels, expected: Pixels, what: str) -> None:
    if not np.array_equal(labels, expected):
        raise DeviceError(
            f"{what}: the GPU's labels are wrong", fix="report it with edgeseg doctor"
        )


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--frames", type=int, default=300, help="timed frames of each mode")
    return made


if __name__ == "__main__":
    main()
