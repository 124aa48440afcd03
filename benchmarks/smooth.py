"""What --smooth does to masks: flicker and mIoU of one engine, with its state and without.

On camvid:val, which is a clip of 15 frames a second (--root), on videos (--video, without masks),
and on synthetic streets, on which the constants of graph/smooth.py were chosen.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.engines import ANY_DROP, NETWORK, SIZE, workplace
from benchmarks.record import measured, parser
from edgeseg.build import build
from edgeseg.clips import ClipLabels
from edgeseg.datasets import open_dataset
from edgeseg.engine import Engine
from edgeseg.metrics.boundary import BAND_PX, band_confusion, border_band
from edgeseg.metrics.confusion import confusion_of, mean_iou
from edgeseg.metrics.flicker import STILL, Flicker
from edgeseg.options import USUAL_SMOOTH
from edgeseg.scene import Street
from edgeseg.types import Counts, Pixels, Precision, Size
from edgeseg.verify import LabelsOf
from edgeseg.video import open_source

Frames: TypeAlias = Iterator[tuple[Pixels, Pixels | None]]

FRAME = Size(360, 480)
FPS = 15
SEEDS = (3, 11)
"""Of the streets."""


def main() -> None:
    """Measure, and write results/smooth.json."""
    options = _parser().parse_args()
    root = options.root.resolve() if options.root else None
    videos = [path.resolve() for path in options.video]

    def measure() -> dict[str, Any]:
        with workplace() as folder, _built(root, options, folder) as engine:
            return {name: on_clip(engine, clip) for name, clip in _clips(root, videos, options)}

    settings = {"strength": options.strength, "count": options.count, "still": STILL}
    measured("smooth", measure, out=options.out, settings=settings, timed=False)


def on_clip(engine: Engine, frames: Frames) -> dict[str, Any]:
    """Both ways over the same frames: flicker in percent, mIoU in points where there are masks.

    `border_miou` is that of the pixels near a border of the truth, where a mask that lags shows.
    """
    steady = ClipLabels(engine)
    ways: dict[str, LabelsOf] = {"alone": engine, "smoothed": steady}
    flicker = {name: Flicker() for name in ways}
    counts: dict[str, list[Counts]] = {name: [] for name in ways}
    near: dict[str, list[Counts]] = {name: [] for name in ways}
    total = 0
    for image, mask in frames:
        total += 1
        for name, labels_of in ways.items():
            labels = labels_of(image)
            flicker[name].see(image, labels)
            if mask is not None:
                classes = len(engine.labels)
                counts[name].append(confusion_of(mask, labels, classes))
                band = border_band(mask, BAND_PX)
                near[name].append(band_confusion(mask, labels, classes, band))
    steady.close()
    return {
        "frames": total,
        "flicker": {name: each.percent for name, each in flicker.items()},
        "still_pixels": flicker["alone"].pixels,
        "miou": _mious(counts),
        "border_miou": _mious(near),
    }


def _mious(counts: dict[str, list[Counts]]) -> dict[str, float | None]:
    return {name: mean_iou(np.sum(each, 0)) if each else None for name, each in counts.items()}


def _clips(
    root: Path | None, videos: list[Path], options: argparse.Namespace
) -> Iterator[tuple[str, Frames]]:
    if root is not None:
        yield "camvid:val", _of_camvid(root, options.count)
    for video in videos:
        yield video.name, _of_video(video, options.count)
    for seed in SEEDS:
        yield f"street {seed}", _of_street(seed, options.count)


def _of_camvid(root: Path, most: int) -> Frames:
    data = open_dataset("camvid:val", root=root)
    for index in range(min(most, len(data))):
        frame = data.frame(index)
        yield frame.image, frame.mask


def _of_video(path: Path, most: int) -> Frames:
    source = open_source(str(path))
    pixels = np.empty((*source.info.size, 3), np.uint8)
    try:
        for _ in range(most):
            if source.read_into(pixels) is None:
                break
            yield pixels, None
    finally:
        source.close()


def _of_street(seed: int, most: int) -> Frames:
    street = Street(seed, FRAME)
    for index in range(most):
        yield street.frame(index / FPS)


def _built(root: Path | None, options: argparse.Namespace, folder: Path) -> Engine:
    data = "synthetic" if root is None else "camvid"
    return build(
        NETWORK,
        precision=Precision.INT8,
        calibrate=f"{data}:train",
        root=root,
        count=options.pictures,
        val_count=options.pictures,
        max_drop=ANY_DROP,
        size=SIZE,
        frame=FRAME,
        smooth=options.strength,
        out=folder / "engine",
    )


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--root", type=Path, help="folder of CamVid")
    made.add_argument("--video", type=Path, action="append", default=[], help="repeatable")
    made.add_argument("--strength", type=float, default=USUAL_SMOOTH)
    made.add_argument("--count", type=int, default=101, help="the most frames of each clip")
    made.add_argument("--pictures", type=int, default=24, help="to calibrate and to verify with")
    return made


if __name__ == "__main__":
    main()
