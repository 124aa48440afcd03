"""Live video: how old results are and whether they grow older, what overload, viewers and a second
camera cost. Each target is written down beside what was measured.

The source is a 640x480 H.264 clip played at a rate: a frame that was due is captured at that
moment, so the time to decode it counts in its age.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import cores, int8_engine, workplace, write_clip
from benchmarks.live_clip import repeated
from benchmarks.live_page import PageCpu, free_port, shown, viewers
from benchmarks.live_targets import target
from benchmarks.record import measured, parser, ratio, turns
from edgeseg.benchmark_live import NOTICED, CameraLoad, Seen
from edgeseg.benchmark_loop import Loop, Measured, measure
from edgeseg.engine import Engine
from edgeseg.metrics.load import ForeignLoad
from edgeseg.sources import Timing
from edgeseg.types import Size
from edgeseg.video.threads import one_opencv_thread

FRAME = Size(480, 640)
RATE = Fraction(30)
INTERVAL_MS = float(1000 / RATE)
OVERLOAD = 3
PREVIEW_FPS = 10
FASTEST = 400
"""Frames per second that no loop here reaches: a clip that lasts as long as a run."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long everything takes."""

    minutes: float = 10.0
    """Of the run whose age must not grow."""
    seconds: float = 30.0
    """Of each other run at a rate."""
    rounds: int = 4
    """Of each interleaved comparison."""
    viewers: int = 10
    frames: int = 600
    """Of each run without a rate."""
    clip_frames: int = 300
    """Of the clip, which is then played over and over."""
    settle_s: float = 2.0
    """What the page's CPU time leaves out at the start."""


QUICK = Plan(minutes=0.1, seconds=4.0, rounds=1, frames=30, clip_frames=30, settle_s=0.5)
"""Shows that everything runs, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every part is given."""

    engine: Engine
    clip: Path
    plan: Plan

    def long_clip(self, frames: int) -> Path:
        """The clip over and over, `frames` of them or a few more."""
        times = -(-frames // self.plan.clip_frames)
        out = self.clip.with_name(f"{self.clip.stem}-{times}{self.clip.suffix}")
        return out if out.is_file() else repeated(self.clip, out, times)

    def played(self, rate: Fraction, seconds: float, **loop: Any) -> tuple[Seen, CameraLoad]:
        """The clip played at `rate`; its frames drawn, unless `loop` says otherwise."""
        clip = self.long_clip(int(rate * Fraction(seconds + 2)))
        see = loop.pop("see", None)
        timing = Timing(rate=rate, seconds=seconds)
        found = measure(self.engine, Loop(sources=(str(clip),), timing=timing, **loop), see)
        (camera,) = found.cameras
        return camera, camera.load(rate)

    def unpaced(self, *clips: Path, **loop: Any) -> Measured:
        """Every frame of `clips`, as fast as it goes."""
        see = loop.pop("see", None)
        return measure(self.engine, Loop(sources=tuple(map(str, clips)), **loop), see)


def main() -> None:
    """Measure, write results/live.json and say which targets were met."""
    options = _parser().parse_args()
    plan = _plan(options)
    engine = options.engine.resolve() if options.engine else None  # before we work elsewhere

    def measure_all() -> dict[str, Any]:
        with workplace() as folder, one_opencv_thread(), ExitStack() as stack:
            pictures = 2 if options.quick else 24
            made = engine or int8_engine(folder / "int8", frame=FRAME, pictures=pictures)
            opened = stack.enter_context(Engine.open(made))
            clip = write_clip(folder / "street.mp4", frames=plan.clip_frames, size=FRAME)
            bench = Bench(engine=opened, clip=clip, plan=plan)
            return {name: _alone(name, PARTS[name], bench) for name in options.parts}

    settings = {**asdict(plan), "frame": str(FRAME), "rate": float(RATE), "cores": cores()}
    measured("live", measure_all, out=options.out, settings=settings)


def steady(bench: Bench) -> dict[str, Any]:
    """The age of results at 30 frames per second, and whether it grows."""
    seconds = 60 * bench.plan.minutes
    seen, load = bench.played(RATE, seconds)
    first, last = _ends_ms(seen)
    targets = [target("p99 of the age at 30 fps, ms", _p99(load), "<", 2 * INTERVAL_MS)]
    if (trend := load.age_trend) is not None:
        minutes = (seen.delivered_s[-1] - seen.delivered_s[0]) / 60
        limit = max(trend.error_ms_per_minute * minutes, NOTICED * INTERVAL_MS)
        rise = trend.ms_per_minute * minutes
        targets.append(target(f"rise of the age over {minutes:.1f} minutes, ms", rise, "<=", limit))
    what = "median age of the last minute above the first's, ms"
    targets.append(target(what, last - first, "<", NOTICED * INTERVAL_MS))
    return {
        "runs": {"30 fps offered": asdict(load)},
        "first_minute_ms": first,
        "last_minute_ms": last,
        "targets": targets,
    }


def overload(bench: Bench) -> dict[str, Any]:
    """Three times the frames that the loop can do: results stay fresh, and drops are counted."""
    free = bench.unpaced(bench.long_clip(bench.plan.frames))
    rate = Fraction(round(OVERLOAD * free.fps))
    _, load = bench.played(rate, bench.plan.seconds)
    counts = load.counts
    gone = load.frames + counts.dropped + counts.late
    achieved = load.fps or 0.0
    name = f"{OVERLOAD} times what it can do"
    return {
        "runs": {name: asdict(load)},
        "unpaced_fps": free.fps,
        "targets": [
            target("frames offered over what was asked for", (load.offered_fps or 0.0) / rate,
                   ">=", 0.98),
            target(f"p99 of the age at {name}, ms", _p99(load), "<",
                   3000 / achieved if achieved else 0.0),
            target("results + dropped + late, over what was captured", gone, "=", counts.captured),
        ],
    }  # fmt: skip


def watched(bench: Bench) -> dict[str, Any]:
    """Viewers of the live page: drops and age beside those without, and what the page costs."""
    alone, looked_at, seen = _with_and_without_viewers(bench)
    cost, count = _page_cost(bench), bench.plan.viewers
    more = [_p99(b) - _p99(a) for a, b in zip(alone, looked_at, strict=True)]
    dropped = sum(load.dropped for load in looked_at) - sum(load.dropped for load in alone)
    rounds = {
        "nobody looks": list(map(asdict, alone)),
        f"{count} viewers look": list(map(asdict, looked_at)),
    }
    return {
        "runs": {f"30 fps offered, {kind}": loads[0] for kind, loads in rounds.items()},
        "rounds": rounds,
        "seen": seen,
        "page_cpu_percent": cost,
        "targets": [
            target(f"drops with {count} viewers above those without", dropped, "<=", 0),
            target(f"p99 of the age with {count} viewers above that without, ms",
                   statistics.median(more), "<", INTERVAL_MS),
            target(f"CPU of the page, {count} viewers, unpaced, % of all cores", cost["both"],
                   "<=", 5.0),
            target(f"fps that they saw meanwhile, of {PREVIEW_FPS}", cost["preview_fps"], ">=",
                   0.9 * PREVIEW_FPS),
        ],
    }  # fmt: skip


def two_sources(bench: Bench) -> dict[str, Any]:
    """Two sources at once beside one, all without pacing, with as many frames altogether."""
    frames = bench.plan.frames
    short, long = bench.long_clip(frames), bench.long_clip(2 * frames)
    fps: dict[str, list[float]] = {"one": [], "two": []}
    for order in turns(list(fps), bench.plan.rounds):
        for kind in order:
            clips = (long,) if kind == "one" else (short, short)
            fps[kind].append(bench.unpaced(*clips).fps)
    found = ratio(fps["one"], fps["two"])
    return {
        "fps": {kind: statistics.median(values) for kind, values in fps.items()},
        "fps_by_round": fps,
        "ratio": asdict(found),
        "targets": [target("fps of two sources together over one's", found.median, ">=", 0.9)],
    }


PARTS: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "steady": steady,
    "overload": overload,
    "watched": watched,
    "two_sources": two_sources,
}


def _alone(name: str, part: Callable[[Bench], dict[str, Any]], bench: Bench) -> dict[str, Any]:
    """What `part` found, and what others did to the machine meanwhile."""
    print(name, flush=True)
    with ForeignLoad() as load:
        found = part(bench)
    return {**found, "foreign_cpus": load.cpus, "dirty": load.dirty}


def _with_and_without_viewers(
    bench: Bench,
) -> tuple[list[CameraLoad], list[CameraLoad], list[dict[str, float]]]:
    """Runs without the page and with its viewers, in turn, and what the viewers saw."""
    plan, alone, looked_at, looked = bench.plan, [], [], []
    for order in turns(["alone", "looked at"], plan.rounds):
        for kind in order:
            if kind == "alone":
                alone.append(bench.played(RATE, plan.seconds, draw=False)[1])
                continue
            url = _page()
            with viewers(url, plan.viewers) as seen:
                looked_at.append(bench.played(RATE, plan.seconds, draw=None, sinks=(url,))[1])
            looked.append(shown(seen))
    return alone, looked_at, looked


def _page_cost(bench: Bench) -> dict[str, float]:
    """The page's own CPU time while the loop goes as fast as it can."""
    plan, url = bench.plan, _page()
    clip, timing = bench.long_clip(int(FASTEST * plan.seconds)), Timing(seconds=plan.seconds)
    with viewers(url, plan.viewers) as seen, PageCpu(plan.settle_s) as cpu:
        found = bench.unpaced(clip, draw=None, sinks=(url,), see=cpu.see, timing=timing)
    return {**cpu.percent(), "loop_fps": found.fps, "preview_fps": shown(seen)["fps"]}


def _page() -> str:
    return f"http://127.0.0.1:{free_port()}?fps={PREVIEW_FPS}"


def _ends_ms(seen: Seen) -> tuple[float, float]:
    """The median age of the first and of the last minute, or of both halves of a short run."""
    when_s, age_ms = np.asarray(seen.delivered_s), np.asarray(seen.age_ms)
    minute_s = min(60.0, (when_s[-1] - when_s[0]) / 2)
    first, last = when_s <= when_s[0] + minute_s, when_s >= when_s[-1] - minute_s
    return float(np.median(age_ms[first])), float(np.median(age_ms[last]))


def _p99(load: CameraLoad) -> float:
    if load.age_ms is None:
        raise SystemExit(f"{load.name} gave no result")
    return load.age_ms.p99


def _plan(options: argparse.Namespace) -> Plan:
    if options.quick:
        return QUICK
    return Plan(minutes=options.minutes, seconds=options.seconds, rounds=options.rounds)


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--engine", type=Path, help="an INT8 engine for 640x480; built without one")
    made.add_argument("--minutes", type=float, default=Plan.minutes, help="whose age must not grow")
    made.add_argument("--seconds", type=float, default=Plan.seconds, help="of other paced runs")
    made.add_argument("--rounds", type=int, default=Plan.rounds, help="of each comparison")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to run")
    made.add_argument("--quick", action="store_true", help="only show that everything runs")
    return made


if __name__ == "__main__":
    main()
