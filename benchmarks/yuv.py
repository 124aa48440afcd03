"""4:2:0 planes into the graph as they were decoded, against RGB and BGR made by the decoder.

One INT8 network with four heads labels the same H.264 clip, in interleaved passes from the file to
the mask, with nothing drawn. Masks and colours are compared frame by frame.
"""

import argparse
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from benchmarks.engines import cores, int8_engine, workplace, write_clip
from benchmarks.record import measured, parser, ratio, turns
from edgeseg.build import build
from edgeseg.engine import Engine
from edgeseg.frames import usual_yuv
from edgeseg.run import run
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video.planes import planes_of
from edgeseg.video.sources.video_file import VideoFile
from edgeseg.yuv import colours_of, rgb_from_yuv

FRAME = Size(480, 640)
FORMATS = (PixelFormat.BGR8, PixelFormat.RGB8, PixelFormat.I420, PixelFormat.NV12)
YUV = usual_yuv(FRAME)
ROUNDED = Interpolation.POINT | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""What makes swscale round to the nearest level; its default cuts off, by up to three levels."""


def main() -> None:
    """Measure, and write results/yuv.json."""
    options = _parser().parse_args()

    def measure() -> dict[str, Any]:
        with workplace() as folder, ExitStack() as stack:
            first = int8_engine(folder / "int8", frame=FRAME, pictures=options.pictures)
            clip = write_clip(folder / "street.mp4", frames=options.frames, size=FRAME)
            engines = {
                kind: stack.enter_context(_with_head(first, kind, folder / kind.value))
                for kind in FORMATS
            }
            assert len({engine.manifest.quantization for engine in engines.values()}) == 1
            return {
                **speeds(engines, clip, passes=options.passes),
                "masks": masks(engines, clip),
                "colours": colours(clip),
            }

    settings = {
        "frame": str(FRAME), "frames": options.frames, "passes": options.passes, "yuv": YUV,
        "cores": cores(),
    }  # fmt: skip
    measured("yuv", measure, out=options.out, settings=settings)


def _with_head(engine: Path, kind: PixelFormat, out: Path) -> Engine:
    """The same network, calibrated with the same pictures, for frames of another format."""
    return build(engine / "recipe.toml", frame_format=kind, out=out)


def speeds(engines: dict[PixelFormat, Engine], clip: Path, *, passes: int) -> dict[str, Any]:
    """Frames per second of every engine, and how they compare pass by pass."""
    fps: dict[str, list[float]] = {kind.value: [] for kind in engines}
    infer_ms: dict[str, list[float]] = {kind.value: [] for kind in engines}
    decode_ms: dict[str, list[float]] = {kind.value: [] for kind in engines}
    for engine in engines.values():
        run(engine, str(clip))
    for order in turns(list(fps), passes):
        for name in order:
            done = run(engines[PixelFormat(name)], str(clip))
            fps[name].append(done.fps)
            infer_ms[name].append(done.stages_ms["infer"] or 0.0)
            decode_ms[name].append(done.stages_ms["decode"] or 0.0)
    return {
        "fps": {name: statistics.median(each) for name, each in fps.items()},
        "fps_by_pass": fps,
        "over_bgr8": {name: asdict(ratio(fps["bgr8"], fps[name])) for name in fps},
        "infer_ms": {name: statistics.median(each) for name, each in infer_ms.items()},
        "decode_ms": {name: statistics.median(each) for name, each in decode_ms.items()},
    }


def masks(engines: dict[PixelFormat, Engine], clip: Path) -> dict[str, float]:
    """Percent of the clip's pixels that are labelled as from BGR; and of the BGR of swscale."""
    labels = {kind.value: _labels(engine, clip) for kind, engine in engines.items()}
    bgr = engines[PixelFormat.BGR8]
    labels["bgr8 of swscale"] = np.array([_mask(bgr, each[..., ::-1]) for each in _swscale(clip)])
    wanted = labels["bgr8"]
    return {
        f"{name} as bgr8": float(100 * np.mean(each == wanted)) for name, each in labels.items()
    }


def _labels(engine: Engine, clip: Path) -> Pixels:
    frames = _frames(clip, engine.manifest.frame_format)
    return np.array([_mask(engine, pixels) for pixels in frames])


def _mask(engine: Engine, pixels: Pixels) -> Pixels:
    slot = engine.new_slot()
    np.copyto(slot.pixels, pixels)
    engine.launch(slot)
    return slot.labels.copy()


def colours(clip: Path) -> dict[str, float]:
    """How far the levels of RGB frames are, at most, from the formula's and from swscale's."""
    change = rgb_from_yuv(colours_of(YUV))
    apart: dict[str, float] = {}
    for planes, rgb, rounded, default in zip(
        _frames(clip, PixelFormat.I420),
        _frames(clip, PixelFormat.RGB8),
        _swscale(clip, ROUNDED),
        _swscale(clip),
        strict=True,
    ):
        luma, *chroma = planes_of(planes, PixelFormat.I420)
        whole = [luma, *(plane.repeat(2, 0).repeat(2, 1) for plane in chroma)]
        formula = np.clip(np.stack(whole, -1) @ change.matrix.T + change.offset, 0, 255)
        for name, other in (
            ("formula", formula), ("swscale rounded", rounded), ("swscale", default)
        ):  # fmt: skip
            most = float(np.abs(rgb - other.astype(float)).max())
            apart[name] = max(most, apart.get(name, 0.0))
    return apart


def _frames(clip: Path, kind: PixelFormat) -> Iterator[Pixels]:
    source = VideoFile(clip, pixel_format=kind, yuv=YUV)
    pixels = np.empty(kind.frame_shape(source.info.size), np.uint8)
    while source.read_into(pixels) is not None:
        yield pixels
    source.close()


def _swscale(clip: Path, how: Interpolation = Interpolation.BILINEAR) -> Iterator[Pixels]:
    """RGB as swscale makes it, which PyAV asks to be bilinear unless told otherwise."""
    reformatter = VideoReformatter()
    for planes in _frames(clip, PixelFormat.I420):
        frame = VideoFrame.from_ndarray(planes, "yuv420p")
        yield reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace="itu601",
            src_color_range=ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=how,
            threads=1,
        ).to_ndarray()


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--frames", type=int, default=300, help="length of the clip")
    made.add_argument("--passes", type=int, default=7, help="of every engine, interleaved")
    made.add_argument("--pictures", type=int, default=24, help="for calibration")
    return made


if __name__ == "__main__":
    main()
