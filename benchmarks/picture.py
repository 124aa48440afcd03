"""Makes docs/picture.png: two synthetic streets, each beside what an INT8 engine sees in it."""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.engines import int8_engine, workplace
from edgeseg.engine import Engine
from edgeseg.files import write_whole
from edgeseg.scene import Street
from edgeseg.types import Pixels, Size
from edgeseg.video.overlay import Overlay

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "picture.png"
STREETS = ((2_000_011, 3.0), (2_000_042, 8.0))
"""Seed and second of each street; the seeds are of the test split."""
SIZE = Size(360, 480)
LARGEST = 400_000
COLORS = (256, 128, 64, 32)
"""Tried in turn: fewer colours make a smaller file."""


def main() -> None:
    """Write the picture."""
    options = _parser().parse_args()
    out = options.out.resolve()
    if options.engine is not None:
        with Engine.open(options.engine) as engine:
            data = png(rows(engine))
    else:
        with workplace() as folder, Engine.open(int8_engine(folder / "e", frame=SIZE)) as engine:
            data = png(rows(engine))
    write_whole(out, data)
    print(f"{out}: {len(data) // 1000} kB")


def rows(engine: Engine) -> Pixels:
    """Frame and overlay of each street, side by side."""
    overlay = Overlay(SIZE, engine.labels)
    made = []
    for seed, second in STREETS:
        image, _ = Street(seed, SIZE).frame(second)
        made.append(np.hstack([image, overlay.draw(image, engine(image))]))
    return np.vstack(made)


def png(picture: Pixels) -> bytes:
    """`picture` as a PNG below LARGEST, with as many colours as that leaves room for."""
    for colors in COLORS:
        buffer = io.BytesIO()
        reduced = Image.fromarray(picture).quantize(colors, dither=Image.Dither.NONE)
        reduced.save(buffer, format="PNG", optimize=True)
        if buffer.tell() < LARGEST:
            return buffer.getvalue()
    raise SystemExit(f"{buffer.tell()} bytes with {COLORS[-1]} colours: make the streets smaller")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--engine", type=Path, help="an INT8 engine folder; built here without one")
    made.add_argument("--out", type=Path, default=PICTURE)
    return made


if __name__ == "__main__":
    main()
