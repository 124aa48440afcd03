"""Latency of the network alone and of the whole loop, with the machine and its foreign load."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from edgeseg.backends.chosen import chosen
from edgeseg.benchmark_live import Live
from edgeseg.benchmark_loop import EndToEnd, Loop, end_to_end, live, measure, timing_of
from edgeseg.device.board import BoardState, board_state
from edgeseg.device.info import machine
from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.latencies import ON_GPU, Latencies, on_gpu, time_frame, warm_slot
from edgeseg.manifest import read_manifest
from edgeseg.metrics.energy import During, Watch
from edgeseg.metrics.latency import LatencySummary, summarise
from edgeseg.metrics.load import ForeignLoad, resident_mib
from edgeseg.sources import Timing
from edgeseg.stream import Show
from edgeseg.tables import needs
from edgeseg.types import OnProgress, RuntimeOptions

# DeepLab v1 (Chen et al., arXiv:1412.7062), section 3.2: the network whose fc6 is cut to 4x4, on
# 306x306 pictures. Its 114.0 GMAC are counted from its layers.
PAPER = {
    "network": "DeepLab v1 (VGG-16, fc6 4x4) at 306x306",
    "gpu": "Titan",
    "fps": 8.0,
    "gmac": 114.0,
}


@dataclass(frozen=True, kw_only=True)
class Boards:
    """The machine's clocks, heat and power around the measurement."""

    before: BoardState
    after: BoardState


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What was measured, and where."""

    engine: str
    network: str
    precision: str
    backend: str
    size: str
    frame: str
    latency_ms: LatencySummary
    """Of the network alone: bytes in memory to ids in memory, one frame at a time, by the wall."""
    gpu_ms: LatencySummary | None
    """The same frames between two marks on the GPU; None on a CPU."""
    fps: float
    """1000 / the mean latency: the network alone."""
    memory: str | None
    """How frames reached the GPU."""
    sync: str | None
    """How the thread waited for the GPU; None where the engine was opened by somebody else."""
    end_to_end: EndToEnd | None
    stages_ms: dict[str, float | None] | None
    """Means per frame in one worker; None where a stage is inside the graph."""
    live: Live | None
    """What each source offered and what became of it; None where none is live."""
    versus: dict[str, object]
    memory_mib: float | None
    machine: dict[str, str | int | float | None]
    foreign_load: dict[str, float | bool | None]
    board: Boards
    during: During
    """While the network alone was timed."""


def benchmark(
    engine: Engine | str | Path,
    source: str | Sequence[str] | None = None,
    sinks: tuple[str, ...] = (),
    *,
    timing: Timing | None = None,
    frames: int = 100,
    rivals: tuple[str | Path, ...] = (),
    workers: int | None = None,
    threads: int | None = None,
    runtime: RuntimeOptions | None = None,
    show: Show | None = None,
    codec: str | None = None,
    scale: bool = False,
    on_progress: OnProgress | None = None,
) -> Benchmark:
    """Time `engine` alone on `frames` frames, then the whole loop over `source`, if one is given.

    With a rate in `timing` the sources are played like cameras, and the report says what they
    offered, what was dropped, and how old results were; of a real camera it says so without.

    `rivals` are other engine folders; each frame is timed on all of them in turn, so that what
    the machine does meanwhile hits them alike. `threads` and `runtime` are for folders: an opened
    engine has its own. With `scale` the source delivers frames of the engine's size.

    Raises:
        UsageError: fewer than one frame, or `runtime` for an engine that runs on a CPU or is open;
            `timing` without a source.
        VideoError: the source cannot be opened.
    """
    if frames < 1:
        raise UsageError(f"{frames} frames cannot be measured", fix="--frames 100")
    sources = (source,) if isinstance(source, str) else tuple(source or ())
    if timing is not None and not sources:
        raise UsageError("a rate and a time mean a source", fix="name one: synthetic://")
    with needs("video"):
        from edgeseg.video.threads import one_opencv_thread
    with contextlib.ExitStack() as opened, one_opencv_thread():
        if not isinstance(engine, Engine):
            runtime = runtime or RuntimeOptions()
            engine = opened.enter_context(Engine.open(engine, threads=threads, runtime=runtime))
        elif runtime is not None:
            raise UsageError(
                "an opened engine cannot be told how to run on a GPU",
                fix="give the folder, or tell Engine.open",
            )
        others = [opened.enter_context(_rival(rival, threads, runtime)) for rival in rivals]
        loop = None
        if sources:
            loop = Loop(
                sources=sources, sinks=sinks, workers=workers, show=show, codec=codec, scale=scale,
                timing=timing_of(sources, sinks, timing),
            )  # fmt: skip
        seen = _seen(engine, others, loop, frames, on_progress)
        sync = runtime.sync if runtime and on_gpu(engine) else None
        return _benchmark_of(engine, seen, sync)


def network_latencies_ms(
    engines: Sequence[Engine], frames: int, on_progress: OnProgress | None = None
) -> list[list[float]]:
    """Wall time of `frames` launches of each engine in turn, after a warm-up of each."""
    found, _ = _alone(engines, frames, on_progress)
    return [latencies.wall_ms for latencies in found]


class _Seen(NamedTuple):
    """What one measurement gave."""

    ours: Latencies
    theirs: dict[Engine, Latencies]
    during: During
    end_to_end: EndToEnd | None
    stages_ms: dict[str, float | None] | None
    live: Live | None
    load: ForeignLoad
    board: Boards


def _seen(
    engine: Engine,
    others: Sequence[Engine],
    loop: Loop | None,
    frames: int,
    on_progress: OnProgress | None,
) -> _Seen:
    """Time the network alone, then the loop, and read the board before and after."""
    before = board_state()
    with ForeignLoad() as load:
        (ours, *rest), during = _alone([engine, *others], frames, on_progress)
        found = measure(engine, loop, on_progress) if loop else None
    after = board_state()
    return _Seen(
        ours=ours,
        theirs=dict(zip(others, rest, strict=True)),
        during=during,
        end_to_end=end_to_end(loop, found) if loop and found else None,
        stages_ms=found.stages_ms if found else None,
        live=live(engine, loop, found) if loop and found else None,
        load=load,
        board=Boards(before=before, after=after),
    )


def _benchmark_of(engine: Engine, seen: _Seen, sync: str | None) -> Benchmark:
    manifest, summary = engine.manifest, summarise(seen.ours.wall_ms)
    return Benchmark(
        engine=str(engine.folder),
        network=manifest.network,
        precision=manifest.precision.value,
        backend=engine.backend_name,
        size=manifest.size,
        frame=manifest.frame,
        latency_ms=summary,
        gpu_ms=summarise(seen.ours.gpu_ms) if seen.ours.gpu_ms else None,
        fps=1000 / summary.mean,
        memory=engine.memory_mode,
        sync=sync,
        end_to_end=seen.end_to_end,
        stages_ms=seen.stages_ms,
        live=seen.live,
        versus=_versus(engine, seen.ours, seen.theirs),
        memory_mib=resident_mib(),
        machine=machine(),
        foreign_load={"cpus": seen.load.cpus, "dirty": seen.load.dirty},
        board=seen.board,
        during=seen.during,
    )


def _rival(folder: str | Path, threads: int | None, runtime: RuntimeOptions | None) -> Engine:
    """Another engine; what was said of the GPU is for those that run on one."""
    name = chosen(read_manifest(Path(folder)), "auto", Path(folder))
    return Engine.open(folder, threads=threads, runtime=runtime if name in ON_GPU else None)


def _alone(
    engines: Sequence[Engine], frames: int, on_progress: OnProgress | None
) -> tuple[list[Latencies], During]:
    """Each engine's frames, in turn, and what the board did meanwhile.

    Power is put down to frames only where there is one engine.
    """
    slots = [warm_slot(engine) for engine in engines]
    found = [Latencies() for _ in engines]
    with Watch(gpu=any(map(on_gpu, engines))) as watch:
        for index in range(frames):
            for engine, slot, latencies in zip(engines, slots, found, strict=True):
                time_frame(engine, slot, latencies)
            if on_progress:
                on_progress("network alone", index + 1, frames)
    return found, watch.seen(frames if len(engines) == 1 else None)


def _versus(engine: Engine, ours: Latencies, rivals: dict[Engine, Latencies]) -> dict[str, object]:
    """The paper, and each rival by its folder."""
    fps, manifest = 1000 / summarise(ours.wall_ms).mean, engine.manifest
    return {
        "paper": _versus_paper(fps, manifest.macs, manifest.network),
        **{
            str(rival.folder): _versus_rival(rival, ours.wall_ms, theirs.wall_ms)
            for rival, theirs in rivals.items()
        },
    }


def _versus_paper(fps: float, macs: int, network: str) -> dict[str, object]:
    paper = float(str(PAPER["fps"])), float(str(PAPER["gmac"]))
    return {
        **PAPER,
        "ours": network,
        "ours_fps": fps,
        "ours_gmac": macs / 1e9,
        "ratio_fps": fps / paper[0],
        "ratio_gmac_per_s": fps * macs / 1e9 / (paper[0] * paper[1]),
    }


def _versus_rival(rival: Engine, ours: list[float], theirs: list[float]) -> dict[str, object]:
    """Their latency over ours, frame by frame: above 1 means that this engine is faster."""
    ratios = sorted(other / own for own, other in zip(ours, theirs, strict=True))
    return {
        "name": rival.manifest.name,
        "backend": rival.backend_name,
        "latency_ms": asdict(summarise(theirs)),
        "ratio": ratios[len(ratios) // 2],
    }
