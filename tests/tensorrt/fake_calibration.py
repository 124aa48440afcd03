"""Implicit INT8: the cache of scales that a calibrator reads."""

import struct
from typing import Any

from tests.tensorrt.fake_graph import FLOAT, HALF, GraphView
from tests.tensorrt.fake_state import State


def calibrated(network: Any, config: Any, logger: Any, fake: State) -> bool:
    """Whether the build has its scales; batches are asked for where the cache is none of ours."""
    calibrator, view = config._calibrator, network._view
    if calibrator is None or not config._has("INT8"):
        return True
    fake.called(calibrator.get_batch_size)
    cache = fake.called(calibrator.read_calibration_cache)
    scales = _scales(bytes(cache or b""), fake)
    if scales is None:
        fake.log(logger, "WARNING", "Calibration cache is missing or of another version")
        fake.calibrated += 1
        batch = fake.called(calibrator.get_batch, list(view.inputs))
        if not batch:
            text = "Error Code 4: Calibration failure occurred with no scaling factors detected"
            fake.log(logger, "ERROR", text)
            return False
        raise NotImplementedError("the fake TensorRT does not calibrate with batches")
    fake.missing_scales = [name for name in _activations(view) if name not in scales]
    for name in fake.missing_scales:
        text = f"Missing scale and zero-point for tensor {name}, expect fall back to non-int8"
        fake.log(logger, "WARNING", text)
    return True


def version_number(release: tuple[int, ...]) -> int:
    """What the header of a cache carries: 8601 for 8.6.1, 100300 for 10.3.0."""
    major, minor, patch = release[:3]
    scale = 1000 if major < 10 else 10_000
    return major * scale + minor * 100 + patch


def _scales(cache: bytes, fake: State) -> dict[str, float] | None:
    lines = cache.decode("ascii", "replace").splitlines()
    header = f"TRT-{version_number(fake.release)}-EntropyCalibration2"
    if not lines or lines[0] != header:
        return None
    pairs = [line.rpartition(": ") for line in lines[1:]]
    return {name: struct.unpack("!f", bytes.fromhex(text))[0] for name, _, text in pairs}


def _activations(view: GraphView) -> list[str]:
    made = [name for node in view.nodes for name in node.output if name not in view.constants]
    return [n for n in (*view.inputs, *made) if view.types.get(n) in {FLOAT, HALF}]
