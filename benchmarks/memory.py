"""What the loop allocates per frame, and whether it grows: figures, no verdict.

tracemalloc sees what Python and numpy allocate; the resident size of the process sees all of it,
the decoder's and OpenVINO's own memory included.
"""

import argparse
import gc
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import Repeated, int8_engine, workplace, write_clip
from benchmarks.record import measured, parser
from edgeseg.engine import Engine
from edgeseg.metrics.load import resident_mib
from edgeseg.run import run
from edgeseg.types import Size

FRAME = Size(480, 640)
CLIP_FRAMES = 300
WARM_UP = 0.1
"""Share of a run after which nothing is allocated any more, by intention."""
LATE = 0.95


def main() -> None:
    """Measure, and write results/memory.json."""
    options = _parser().parse_args()

    def measure() -> dict[str, Any]:
        with workplace() as folder:
            built = int8_engine(folder / "int8", frame=FRAME, pictures=options.pictures)
            clip = write_clip(
                folder / "street.mp4", frames=min(CLIP_FRAMES, options.long), size=FRAME
            )
            with Engine.open(built) as engine:
                grown = resident(engine, Repeated(clip, options.long), options.long)
                traced_run = traced(engine, Repeated(clip, options.short), folder, options.short)
            return {"resident": grown, "traced": traced_run}

    settings = {"frame": str(FRAME), "traced_frames": options.short, "frames": options.long}
    measured("memory", measure, out=options.out, settings=settings, timed=False)


def resident(engine: Engine, source: Repeated, frames: int) -> dict[str, Any]:
    """Memory of the process over `frames` drawn frames, after the warm-up."""
    every = max(1, int(frames * WARM_UP))
    samples: list[tuple[int, float]] = []

    def see(step: str, done: int, total: int | None) -> None:
        del step, total
        if done % every == 0:
            samples.append((done, resident_mib() or 0.0))

    run(engine, source, draw=True, on_progress=see)
    counts, sizes = np.array(samples).T
    return {
        "frames": frames,
        "after_warm_up_mib": float(sizes[0]),
        "at_end_mib": float(sizes[-1]),
        "most_mib": float(sizes.max()),
        "growth_mib": float(sizes[-1] - sizes[0]),
        "kib_per_1000_frames": float(1024 * 1000 * np.polyfit(counts, sizes, 1)[0]),
    }


def traced(engine: Engine, source: Repeated, folder: Path, frames: int) -> dict[str, Any]:
    """Python's and numpy's memory over `frames` frames that are drawn and encoded."""
    # Not at the very end: a worker that found no more frames has let go of its slot already.
    warm, late = max(1, int(frames * WARM_UP)), int(frames * LATE)
    found: dict[str, float] = {}

    def see(step: str, done: int, total: int | None) -> None:
        del step, total
        if done == warm:
            gc.collect()
            tracemalloc.reset_peak()
            found["before"] = tracemalloc.get_traced_memory()[0]
        elif done == late:
            gc.collect()
            found["after"], found["peak"] = tracemalloc.get_traced_memory()

    tracemalloc.start()
    try:
        run(engine, source, [str(folder / "out.mp4")], codec="mpeg4", on_progress=see)
    finally:
        tracemalloc.stop()
    return {
        "frames": late - warm,
        "frame_kib": FRAME.height * FRAME.width * 3 / 1024,
        "growth_kib": (found["after"] - found["before"]) / 1024,
        "peak_above_kib": (found["peak"] - found["before"]) / 1024,
    }


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--short", type=int, default=500, help="frames with tracemalloc")
    made.add_argument("--long", type=int, default=10_000, help="frames for the resident size")
    made.add_argument("--pictures", type=int, default=24, help="for calibration")
    return made


if __name__ == "__main__":
    main()
