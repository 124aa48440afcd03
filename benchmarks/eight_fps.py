"""The network behind the "8 frames per second" of DeepLab v1, on this machine.

VGG-16 with fc6 cut to 4x4, 306x306 in, 21 classes (arXiv:1412.7062, section 3.2; measured there
on a Titan GPU). The weights are random: speed does not depend on them. INT8 and float engines of
OpenVINO and the float one of ONNX Runtime are timed in turn.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.engines import cores, workplace
from benchmarks.record import measured, parser, ratio
from edgeseg.benchmark import PAPER, network_latencies_ms
from edgeseg.build import RANDOM, build
from edgeseg.engine import Engine
from edgeseg.metrics.latency import summarise
from edgeseg.types import Precision, Size

NETWORK = "deeplabv1-4x4-vgg16"
SIZE = Size(306, 306)
RIVALS = {
    "int8 openvino": (Precision.INT8, "openvino"),
    "fp32 openvino": (Precision.FP32, "openvino"),
    "fp32 onnxruntime": (Precision.FP32, "onnxruntime"),
}


def main() -> None:
    """Measure, and write results/eight_fps.json."""
    options = _parser().parse_args()

    def measure() -> dict[str, Any]:
        with workplace() as folder:
            return compared(folder, options)

    settings = {"network": options.network, "size": str(SIZE), "rounds": options.rounds}
    measured("eight_fps", measure, out=options.out, settings=settings)


def compared(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Latency of each engine, bytes to ids, and each over INT8."""
    engines = [_engine(folder / name, options.network, *how) for name, how in RIVALS.items()]
    cost = {"macs": engines[0].manifest.macs, "parameters": engines[0].manifest.parameters}
    spent = network_latencies_ms(engines, options.rounds)
    for engine in engines:
        engine.close()
    timed = {
        name: {
            "latency_ms": asdict(summarise(values)),
            "fps": 1000 / summarise(values).p50,
            "ratio": asdict(ratio(spent[0], values)),
        }
        for name, values in zip(RIVALS, spent, strict=True)
    }
    return {"paper": PAPER, "cost": cost, "engines": timed}


def _engine(folder: Path, network: str, precision: Precision, backend: str) -> Engine:
    build(
        network,
        weights=RANDOM,
        precision=precision,
        calibrate="synthetic:train" if precision is Precision.INT8 else None,
        count=4 if precision is Precision.INT8 else None,
        size=SIZE,
        frame=SIZE,
        backend=backend,
        out=folder,
    ).close()
    return Engine.open(folder, threads=cores())


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=30, help="timed runs of each engine")
    made.add_argument("--network", default=NETWORK, help="a network of the zoo")
    return made


if __name__ == "__main__":
    main()
