"""The whole loop on a video file - decode, infer, draw, encode - against a plain one.

Passes are interleaved: each pass runs the plain loop, edgeseg's with several counts of workers,
its stages one after the other in a single thread, and one single-worker loop per core in processes
of their own, which share nothing but the machine.
"""

import argparse
import os
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.engines import as_compiled, cores, int8_core, int8_engine, workplace, write_clip
from benchmarks.plain_loop import PlainNetwork, plain_loop
from benchmarks.record import measured, parser, ratio, turns
from edgeseg.backends.host_slots import workers_on_a_cpu
from edgeseg.engine import Engine
from edgeseg.frames import Source
from edgeseg.run import run
from edgeseg.stream import stream
from edgeseg.types import Size, Slot
from edgeseg.video import FrameView, Sink, SinkOptions, SourceOptions, open_sink, open_source
from edgeseg.video.overlay import Overlay

FRAME = Size(480, 640)
CODEC = "mpeg4"
STAGES = ("decode", "infer", "post", "draw", "encode")
TEXT = "deeplabv3plus-mobilenetv2 int8 on openvino  100 fps  10.0 ms"
PROCESS_START_S = 5.0
"""What a process gets to import and open the engine before all begin together."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every loop is given, and where it may write."""

    engine: Path
    clip: Path
    folder: Path
    frames: int

    @property
    def video(self) -> Path:
        return self.folder / "out.mp4"


@dataclass
class Passes:
    """One entry for each pass."""

    plain_fps: list[float] = field(default_factory=list)
    worker_fps: dict[int, list[float]] = field(default_factory=dict)
    process_fps: list[float] = field(default_factory=list)
    undrawn_fps: list[float] = field(default_factory=list)
    unwritten_fps: list[float] = field(default_factory=list)
    stages_ms: list[dict[str, float]] = field(default_factory=list)
    shares: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    worker_stages_ms: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    waits_ms: list[float] = field(default_factory=list)
    video_bytes: dict[str, int] = field(default_factory=dict)


def main() -> None:
    """Measure, and write results/loop.json."""
    options = _parser().parse_args()

    def measure() -> dict[str, Any]:
        with workplace() as folder:
            engine = int8_engine(folder / "int8", frame=FRAME, pictures=options.pictures)
            clip = write_clip(folder / "street.mp4", frames=options.frames, size=FRAME)
            work = Work(engine=engine, clip=clip, folder=folder, frames=options.frames)
            return loops(work, passes=options.passes)

    settings = {
        "frame": str(FRAME), "frames": options.frames, "passes": options.passes, "codec": CODEC,
        "cores": cores(),
    }  # fmt: skip
    measured("loop", measure, out=options.out, settings=settings)


def loops(work: Work, *, passes: int) -> dict[str, Any]:
    """What `passes` interleaved passes of every loop came to."""
    found = Passes()
    engine, one_thread = Engine.open(work.engine), Engine.open(work.engine, threads=1)
    network = PlainNetwork(
        as_compiled(int8_core(work.engine), "openvino"), engine.manifest, threads=cores()
    )
    counts = sorted({cores(), cores() + 1, cores() + 2, workers_on_a_cpu()})
    kinds = ["plain", *map(str, counts), "undrawn", "unwritten", "stages", "waits", "processes"]
    plain_loop(network, work.clip, work.video)  # warms up the page cache, too
    for order in turns(kinds, passes):
        for kind in order:
            if kind == "plain":
                done = plain_loop(network, work.clip, work.video)
                found.plain_fps.append(done.frames / done.seconds)
                found.video_bytes["plain"] = work.video.stat().st_size
            elif kind == "stages":
                found.stages_ms.append(stages_alone(one_thread, work))
            else:
                _pass(kind, engine, work, found)
    for opened in (engine, one_thread):
        opened.close()
    return _summary(found)


def stages_alone(engine: Engine, work: Work) -> dict[str, float]:
    """Mean ms per frame of each stage, one after the other in one thread, as `run` does them."""
    source = open_source(str(work.clip), SourceOptions(pixel_format=engine.manifest.frame_format))
    assert source.info.fps is not None
    sink = open_sink(
        str(work.video),
        SinkOptions(size=FRAME, fps=source.info.fps, labels=engine.labels, codec=CODEC),
    )
    overlay, slot = Overlay(FRAME, engine.labels), engine.new_slot()
    rows: list[tuple[float, ...]] = []
    try:
        while (row := _one_frame(engine, source, sink, overlay, slot)) is not None:
            rows.append(row)
    finally:
        sink.close()
        source.close()
    return dict(zip(STAGES, map(statistics.fmean, zip(*rows, strict=True)), strict=True))


def _one_frame(
    engine: Engine, source: Source, sink: Sink, overlay: Overlay, slot: Slot
) -> tuple[float, ...] | None:
    """Ms of each of STAGES for the next frame; None at the end of the source."""
    start = time.perf_counter()
    moment = source.read_into(slot.pixels)
    if moment is None:
        return None
    decoded = time.perf_counter()
    engine.launch(slot)
    launched = time.perf_counter()
    picture = overlay.draw(slot.pixels, slot.labels, TEXT)
    drawn = time.perf_counter()
    sink.write(FrameView(index=moment.index, picture=picture, labels=slot.labels))
    encoded = time.perf_counter()
    post_s = slot.stages_ms.get("post", 0.0) / 1000
    spent = (decoded - start, launched - decoded - post_s, post_s, drawn - launched)
    return tuple(1000 * seconds for seconds in (*spent, encoded - drawn))


class CpuShares:
    """Where the CPU time of a run goes, sampled from its consumer in the middle of the run."""

    def __init__(self, frames: int) -> None:
        self._first, self._last = max(1, frames // 10), max(2, frames * 9 // 10)
        self._samples: list[dict[str, float]] = []

    def see(self, step: str, done: int, total: int | None) -> None:
        """Called by `run` after every frame."""
        del step, total
        if done in {self._first, self._last}:
            self._samples.append(_clocks())

    def shares(self) -> dict[str, float]:
        """Shares of all cores: workers, consumer, other threads, idle."""
        before, after = self._samples
        spent = {name: after[name] - before[name] for name in before}
        whole = spent.pop("wall") * cores()
        spent["other threads"] = spent.pop("process") - spent["workers"] - spent["consumer"]
        shares = {name: value / whole for name, value in spent.items()}
        return {**shares, "idle": 1 - sum(shares.values())}


def waiting_ms(engine: Engine, work: Work) -> float:
    """Mean ms that a drawn frame waits until it is its turn to be delivered."""
    waits = []
    with stream(engine, str(work.clip), [str(work.video)], codec=CODEC) as frames:
        for result in frames:
            since_labels = 1e3 * (time.monotonic() - result.time.captured_s) - result.age_ms
            stages = result.stages_ms
            waits.append(since_labels - stages.get("draw", 0.0) - stages.get("encode", 0.0))
    return statistics.fmean(waits)


def in_processes(work: Work) -> float:
    """Frames per second of one single-worker loop per core, all at once, added up."""
    start = time.time() + PROCESS_START_S
    tasks = [(work, index, start) for index in range(cores())]
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        return sum(pool.map(_one_process, tasks))


def _one_process(task: tuple[Work, int, float]) -> float:
    """The stages one after the other, from the agreed moment on: no thread waits for another."""
    work, index, start = task
    folder = work.folder / f"process-{index}"
    folder.mkdir(exist_ok=True)
    own = Work(engine=work.engine, clip=work.clip, folder=folder, frames=work.frames)
    with Engine.open(own.engine, threads=1) as engine:
        engine.launch(engine.new_slot())
        time.sleep(max(0.0, start - time.time()))
        return 1000 / sum(stages_alone(engine, own).values())


def _pass(kind: str, engine: Engine, work: Work, found: Passes) -> None:
    """One pass of one of edgeseg's own loops."""
    if kind == "undrawn":
        found.undrawn_fps.append(run(engine, str(work.clip)).fps)
    elif kind == "unwritten":
        found.unwritten_fps.append(run(engine, str(work.clip), draw=True).fps)
    elif kind == "waits":
        found.waits_ms.append(waiting_ms(engine, work))
    elif kind == "processes":
        found.process_fps.append(in_processes(work))
    else:
        _with_workers(int(kind), engine, work, found)


def _with_workers(count: int, engine: Engine, work: Work, found: Passes) -> None:
    clock = CpuShares(work.frames)
    done = run(
        engine, str(work.clip), [str(work.video)], workers=count, codec=CODEC,
        on_progress=clock.see,
    )  # fmt: skip
    found.worker_fps.setdefault(count, []).append(done.fps)
    found.shares.setdefault(count, []).append(clock.shares())
    stages = {name: value for name, value in done.stages_ms.items() if value is not None}
    found.worker_stages_ms.setdefault(count, []).append(stages)
    found.video_bytes["edgeseg"] = work.video.stat().st_size


def _summary(found: Passes) -> dict[str, Any]:
    alone = {stage: statistics.median(one[stage] for one in found.stages_ms) for stage in STAGES}
    alone_s = sum(alone.values()) / 1000

    def loop(fps: list[float]) -> dict[str, Any]:
        return {
            "fps": statistics.median(fps),
            "fps_by_pass": fps,
            "over_plain": asdict(ratio(found.plain_fps, fps)),
            "over_plain_by_pass": [a / b for a, b in zip(fps, found.plain_fps, strict=True)],
            "efficiency": statistics.median(fps) * alone_s / cores(),
        }

    workers = {}
    for count, fps in found.worker_fps.items():
        shares = _medians(found.shares[count])
        busy = 1 - shares["idle"]
        workers[str(count)] = {
            **loop(fps),
            "of_cpu_time": shares,
            "stages_ms": _medians(found.worker_stages_ms[count]),
            "cpu_ms_per_frame": 1000 * busy * cores() / statistics.median(fps),
        }
    return {
        "plain": loop(found.plain_fps),
        "workers": workers,
        "default_workers": workers_on_a_cpu(),
        "waits_for_delivery_ms": statistics.median(found.waits_ms),
        "without_encoding": loop(found.unwritten_fps),
        "without_drawing_and_encoding": loop(found.undrawn_fps),
        "one_process_per_core": loop(found.process_fps),
        "stages_alone_ms": alone,
        "stages_alone_sum_ms": 1000 * alone_s,
        "video_bytes": found.video_bytes,
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _clocks() -> dict[str, float]:
    """Seconds of wall time, of this process, of its workers and of the thread that asks."""
    workers = [
        thread.native_id
        for thread in threading.enumerate()
        if thread.name.startswith("worker-") and thread.native_id
    ]
    return {
        "wall": time.perf_counter(),
        "process": time.process_time(),
        "consumer": time.thread_time(),
        "workers": sum(map(_thread_s, workers)),
    }


def _thread_s(native_id: int) -> float:
    """CPU seconds of one thread of this process; 0 where /proc does not say."""
    path = Path(f"/proc/{os.getpid()}/task/{native_id}/schedstat")
    try:
        return int(path.read_text().split()[0]) / 1e9
    except (OSError, ValueError):
        return 0.0


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--frames", type=int, default=300, help="length of the clip")
    made.add_argument("--passes", type=int, default=5, help="of every loop, interleaved")
    made.add_argument("--pictures", type=int, default=24, help="for calibration")
    return made


if __name__ == "__main__":
    main()
