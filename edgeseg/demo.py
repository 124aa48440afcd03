"""The main job from end to end, on the synthetic street: no camera, no download, no PyTorch."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.benchmark import Benchmark, benchmark
from edgeseg.build import build
from edgeseg.datasets import open_dataset
from edgeseg.engine import Engine
from edgeseg.evaluate import Evaluation, evaluate
from edgeseg.files import whole
from edgeseg.run import RunSummary, run
from edgeseg.tables import needs
from edgeseg.types import Labels, OnProgress, Pixels, Precision, Size
from edgeseg.verify import float_reference

NETWORK = "deeplabv3plus-mobilenetv2"
SIZE = Size(256, 512)
FRAME = Size(480, 640)
ROWS = 4


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What was made and measured."""

    engine: Path
    video: Path
    sheet: Path
    evaluation: Evaluation
    benchmark: Benchmark
    run: RunSummary


def demo(
    out: str | Path = "demo", *, seconds: int = 10, on_progress: OnProgress | None = None
) -> Demo:
    """Build, score, time and run the shipped network in INT8; everything lands under `out`.

    Raises:
        MissingPackage: an extra of `graph`, `video`, `openvino` or `ort` is not installed.
        OutputError: `out` cannot be written.
    """
    out = Path(out)
    clip, video = out / "street.mp4", out / "overlay.mp4"
    _write_clip(clip, seconds, on_progress)
    engine = build(
        NETWORK,
        precision=Precision.INT8,
        calibrate="synthetic:train",
        count=24,
        val="synthetic:val",
        val_count=16,
        size=SIZE,
        frame=FRAME,
        out=out / "engine",
        on_progress=on_progress,
    )
    float_folder = out / "engine-fp32"
    build(
        NETWORK, precision=Precision.FP32, size=SIZE, frame=FRAME, out=float_folder,
        on_progress=on_progress,
    ).close()  # fmt: skip
    with engine:
        score = evaluate(engine, "synthetic:test", count=24, on_progress=on_progress)
        sheet = contact_sheet(engine, out / "sheet.png")
        done = run(engine, str(clip), [str(video)], on_progress=on_progress)
        timed = benchmark(engine, str(clip), frames=60, rivals=(float_folder,))
    shutil.rmtree(out / "engine" / "cache", ignore_errors=True)
    return Demo(
        engine=out / "engine", video=video, sheet=sheet, evaluation=score, benchmark=timed, run=done
    )


def contact_sheet(engine: Engine, path: Path) -> Path:
    """A PNG at `path`: frame, float mask, INT8 mask and where the two differ, one street a row."""
    with needs("graph"):
        from edgeseg.graph.load import load_model
    with needs("video"):
        from PIL import Image

    reference = float_reference(load_model(engine.folder / "float.onnx"), engine.manifest)
    data = open_dataset("synthetic:test", count=ROWS)
    rows = []
    for index in range(ROWS):
        image = data.frame(index).image
        rows.append(_row(image, reference(image), engine(image), engine.labels))
    with whole(path) as temporary:
        Image.fromarray(np.vstack(rows)).save(temporary, format="PNG")
    return path


def _row(image: Pixels, expected: Pixels, found: Pixels, labels: Labels) -> Pixels:
    palette = labels.palette()
    grey = (image.mean(2) * 0.4).astype(np.uint8)
    difference = np.repeat(grey[..., None], 3, 2)
    difference[expected != found] = (255, 60, 40)
    return np.hstack([image, palette[expected], palette[found], difference])


def _write_clip(path: Path, seconds: int, on_progress: OnProgress | None) -> None:
    """A moving synthetic street as a video file: the demo decodes, as a user's run does."""
    with needs("video"):
        from edgeseg.video import FrameView, SinkOptions, open_sink, open_source

    source = open_source(f"synthetic://?seconds={seconds}&size={FRAME}&seed=7")
    labels = open_dataset("synthetic:test").labels
    assert source.info.fps is not None
    sink = open_sink(str(path), SinkOptions(size=FRAME, fps=source.info.fps, labels=labels))
    picture = np.empty((*FRAME, 3), np.uint8)
    blank = np.zeros(FRAME, np.uint8)
    try:
        while (moment := source.read_into(picture)) is not None:
            sink.write(FrameView(index=moment.index, picture=picture, labels=blank))
            if on_progress:
                on_progress("draw the street", moment.index + 1, source.info.frames)
    finally:
        sink.close()
        source.close()
