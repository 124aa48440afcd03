"""The compact presets side by side: parameters, MACs, mIoU float and INT8, milliseconds.

Each was trained under the same budget by `python -m benchmarks.train_compact`. Engines are built
with the defaults, calibrated on camvid:train, verified on camvid:val and scored on camvid:test.
Float and INT8 engines of all presets are timed in turn, so that the machine treats them alike.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.engines import ANY_DROP, cores, workplace
from benchmarks.record import RESULTS, measured, parser, ratio
from edgeseg.benchmark import network_latencies_ms
from edgeseg.build import build
from edgeseg.engine import Engine
from edgeseg.evaluate import evaluate
from edgeseg.metrics.latency import summarise
from edgeseg.types import Precision, Size
from edgeseg.zoo import MODELS
from edgeseg.zoo.shipped import card

SIZE = Size(360, 480)

PUBLISHED: dict[str, tuple[float, str]] = {
    "fcn-compact": (49.83, "3433 training images, 360x480, bilinear deconvolution (SegNet, t. 3)"),
    "segnet-compact": (60.10, "3433 training images, 360x480 (SegNet, table 3)"),
    "deeplabv1-compact": (61.6, "367 training images, 640x480, LargeFOV (Yu and Koltun, table 5)"),
    "dilation-compact": (65.3, "367 training images, 640x480, Dilation8 (Yu and Koltun, table 5)"),
}
"""The mIoU on CamVid that papers print of the full-size networks, and by which protocol."""


def main() -> None:
    """Score all presets, then time all; write results/zoo_accuracy.json and results/zoo.json."""
    options = _parser().parse_args()
    options.root = options.root.resolve()
    accuracy = (options.out or RESULTS / "zoo.json").resolve().with_name("zoo_accuracy.json")
    with workplace() as folder:
        folder = options.engines.resolve() if options.engines else folder
        if not options.only_speed:
            settings = {"size": str(SIZE), "count": options.count}
            measured(
                "zoo_accuracy",
                lambda: {name: scored(name, folder, options) for name in options.only or presets()},
                out=accuracy,
                settings=settings,
                timed=False,
            )
        scores = json.loads(accuracy.read_text(encoding="utf-8"))["results"]
        settings = {"size": str(SIZE), "rounds": options.rounds}
        measured(
            "zoo",
            lambda: timed(scores, folder, options.rounds),
            out=options.out,
            settings=settings,
        )


def presets() -> list[str]:
    """The rows that are compact presets and ship with weights."""
    return [name for name in MODELS if name.endswith("-compact") and card(name)]


def scored(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Build the float and the INT8 engine of `name` in `folder`; what they keep on test."""
    root, count = options.root, options.count
    build(
        name, precision=Precision.FP32, size=SIZE, frame=SIZE, out=folder / f"{name}-fp32"
    ).close()
    with build(
        name,
        precision=Precision.INT8,
        calibrate="camvid:train",
        root=root,
        val_count=count,
        max_drop=ANY_DROP,
        size=SIZE,
        out=folder / f"{name}-int8",
    ) as engine:
        score = evaluate(engine, "camvid:test", root=root, count=count)
        parameters, macs = engine.manifest.parameters, engine.manifest.macs
    held = card(name) or {}
    return {
        "paper": MODELS[name].paper,
        "parameters": parameters,
        "macs": macs,
        "score": asdict(score),
        "budget": held.get("budget"),
        "published": PUBLISHED.get(name),
    }


def timed(scores: dict[str, Any], folder: Path, rounds: int) -> dict[str, Any]:
    """`scores` with the latency of both engines of each, bytes in memory to ids in memory."""
    for name, values in scores.items():
        engines = [
            Engine.open(folder / f"{name}-{precision}", threads=cores())
            for precision in ("int8", "fp32")
        ]
        int8, fp32 = network_latencies_ms(engines, rounds)
        for engine in engines:
            engine.close()
        values["int8_ms"] = asdict(summarise(int8))
        values["fp32_ms"] = asdict(summarise(fp32))
        values["ratio"] = asdict(ratio(int8, fp32))
    return scores


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--root", type=Path, required=True, help="folder of CamVid")
    made.add_argument("--count", type=int, help="use this many pictures of each split")
    made.add_argument("--rounds", type=int, default=60, help="timed runs of each engine")
    made.add_argument("--engines", type=Path, help="where the engines stay; else they are removed")
    made.add_argument("--only-speed", action="store_true", help="time the engines that are there")
    made.add_argument("--only", action="append", help="this preset alone; repeatable")
    return made


if __name__ == "__main__":
    main()
