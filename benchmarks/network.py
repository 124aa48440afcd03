"""The network alone: INT8 in OpenVINO against float in ONNX Runtime, and other rivals.

Once from float pixels to logits (the core), once from the camera's bytes to class ids. All have
as many threads as there are cores, and are timed in turn, so that the machine treats them alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from openvino import Core, Tensor

from benchmarks.engines import (
    SIZE,
    as_compiled,
    cores,
    float_engine,
    int8_core,
    int8_engine,
    workplace,
)
from benchmarks.record import measured, parser, ratio, turns
from edgeseg.backends import backend
from edgeseg.engine import Engine, compiled
from edgeseg.metrics.latency import summarise
from edgeseg.scene import Street
from edgeseg.types import Floats, Pixels, Precision, Runner, Size, Slot, size_from_text

OURS = "int8 openvino"
RIVAL = "fp32 onnxruntime"
REST_S = 0.05
"""Before each turn: the threads of ONNX Runtime spin on after its runs, at the next one's cost."""
SETTLE = 2
"""Untimed runs before each timed one, in the rival's place: caches and clocks are its own then."""

Launch = Callable[[], object]


def main() -> None:
    """Measure, and write results/network.json."""
    options = _parser().parse_args()
    size = size_from_text(options.size)

    def measure() -> dict[str, Any]:
        with workplace() as folder:
            return network(folder, size, rounds=options.rounds, pictures=options.pictures)

    settings = {
        "size": str(size),
        "rounds": options.rounds,
        "threads": cores(),
        "rest_before_each_s": REST_S,
        "untimed_before_each": SETTLE,
    }
    measured("network", measure, out=options.out, settings=settings)


def network(folder: Path, size: Size, *, rounds: int, pictures: int) -> dict[str, Any]:
    """Both comparisons, for engines that are built in `folder`."""
    quantised = int8_engine(folder / "int8", frame=size, size=size, pictures=pictures)
    for name in ("onnxruntime", "openvino"):
        float_engine(folder / f"fp32-{name}", backend=name, frame=size, size=size)
    image, _ = Street(7, size).frame(1.0)
    return {
        "core": compared(core_launches(quantised, size), rounds),
        "frame": compared(frame_launches(folder, image), rounds),
    }


def compared(launches: Mapping[str, Launch], rounds: int) -> dict[str, Any]:
    """Latency of each, and each over ours, from `rounds` turns of all."""
    spent = _timed(launches, rounds)
    return {
        name: {
            "latency_ms": asdict(summarise(values)),
            "fps": 1000 / statistics.median(values),
            "ratio": asdict(ratio(spent[OURS], values)),
        }
        for name, values in spent.items()
    }


def core_launches(engine: Path, size: Size) -> dict[str, Launch]:
    """Float32 pixels in memory to logits in memory, every rival bound to memory of its own."""
    whole, quantised = (engine / "float.onnx").read_bytes(), int8_core(engine)
    pixels = np.random.default_rng(0).normal(0, 1, (1, 3, *size)).astype(np.float32)
    launches = {
        OURS: _openvino(as_compiled(quantised, "openvino"), "f32", pixels),
        RIVAL: _onnxruntime(whole, pixels),
        "fp32 openvino": _openvino(whole, "f32", pixels),
        "int8 onnxruntime": _onnxruntime(as_compiled(quantised, "onnxruntime"), pixels),
    }
    if "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        launches["bf16 openvino"] = _openvino(whole, "bf16", pixels)
    return launches


def frame_launches(folder: Path, image: Pixels) -> dict[str, Launch]:
    """Bytes of a frame in memory to class ids in memory."""
    launches = {
        OURS: _launch_of(_opened(folder / "int8"), image),
        RIVAL: _launch_of(_opened(folder / "fp32-onnxruntime"), image),
        "fp32 openvino": _launch_of(_opened(folder / "fp32-openvino"), image),
    }
    # Straight from its backend: whether its labels are close enough is not the question here.
    module = backend("onnxruntime")
    plan = compiled(module, (folder / "int8" / "graph.onnx").read_bytes(), Precision.INT8)
    runner: Runner = module.load(plan, threads=cores())
    slot = _opened(folder / "int8").new_slot()
    np.copyto(slot.pixels, image)
    launches["int8 onnxruntime"] = lambda: runner.launch(slot)
    return launches


def _opened(folder: Path) -> Engine:
    return Engine.open(folder, threads=cores())


def _launch_of(engine: Engine, image: Pixels) -> Launch:
    slot: Slot = engine.new_slot()
    np.copyto(slot.pixels, image)
    return lambda: engine.launch(slot)


def _openvino(model: bytes, hint: str, pixels: Floats) -> Launch:
    core = Core()
    config = {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": cores(),
        "ENABLE_CPU_PINNING": False,  # as edgeseg's backend has it
    }
    network = core.compile_model(core.read_model(model), "CPU", config)
    request = network.create_infer_request()
    logits = np.empty(list(network.output(0).shape), np.float32)
    request.set_input_tensor(Tensor(pixels, shared_memory=True))
    request.set_output_tensor(Tensor(logits, shared_memory=True))
    # Without it `infer` returns a fresh copy of the logits, which are in `logits` already.
    return _holding(lambda: request.infer(share_outputs=True), pixels, logits)


def _onnxruntime(model: bytes, pixels: Floats) -> Launch:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("pixels", onnxruntime.OrtValue.ortvalue_from_numpy(pixels))
    logits = np.empty(session.run(["logits"], {"pixels": pixels})[0].shape, np.float32)
    binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(logits))
    return _holding(lambda: session.run_with_iobinding(binding), pixels, logits)


def _holding(launch: Launch, *memory: Floats) -> Launch:
    """`launch`, which neither runtime's binding would keep the memory for."""

    def launched() -> None:
        assert memory
        launch()

    return launched


def _timed(launches: Mapping[str, Launch], rounds: int) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {name: [] for name in launches}
    for order in turns([*launches], rounds):
        for name in order:
            time.sleep(REST_S)
            for _ in range(SETTLE):
                launches[name]()
            start = time.perf_counter()
            launches[name]()
            spent[name].append(1e3 * (time.perf_counter() - start))
    return spent


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=100, help="timed runs of each")
    made.add_argument("--size", default=str(SIZE), help="of network and frame, WIDTHxHEIGHT")
    made.add_argument("--pictures", type=int, default=24, help="for calibration")
    return made


if __name__ == "__main__":
    main()
