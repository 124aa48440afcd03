"""Runs one peer quantiser on a float ONNX file: in the peer's own environment, without edgeseg.

    PYTHON benchmarks/peers.py PEER FLOAT.onnx PIXELS.npz OUT.onnx

PIXELS.npz holds "pixels", float32 (pictures, 3, h, w): what the network's input of that name gets.
The last line on stdout is a JSON object with the versions and the seconds that it took.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

INPUT = "pixels"
AT_ONCE = 4
"""Pictures whose activations ONNX Runtime's histograms may hold in memory together."""

Quantise = Callable[[Path, Any, Path], None]


def main() -> None:
    """Quantise, and say by what and how long."""
    options = _parser().parse_args()
    pixels = np.load(options.pixels)[INPUT]
    quantise = PEERS[options.peer][1]
    start = time.perf_counter()
    quantise(options.model, pixels, options.out)
    spent = time.perf_counter() - start
    packages = {name: version(name) for name in PACKAGES[PEERS[options.peer][0]]}
    print(json.dumps({"packages": packages, "seconds": spent, "pictures": len(pixels)}))


def onnxruntime_s8(model: Path, pixels: Any, out: Path, *, method: str) -> None:
    """Symmetric S8 of activations and weights, biases in float: what TensorRT can take."""
    options = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    _onnxruntime(model, pixels, out, method=method, signed=True, options=options)


def onnxruntime_u8(model: Path, pixels: Any, out: Path) -> None:
    """U8 activations with zero points, S8 weights: what ONNX Runtime's manual advises on x86."""
    _onnxruntime(model, pixels, out, method="MinMax", signed=False, options={})


def nncf(model: Path, pixels: Any, out: Path, *, preset: str) -> None:
    """NNCF's post-training quantisation of the ONNX model, with all its defaults."""
    import nncf  # type: ignore[import-not-found]
    import onnx

    data = nncf.Dataset([picture[None] for picture in pixels], lambda picture: {INPUT: picture})
    quantised = nncf.quantize(
        onnx.load(model),
        data,
        preset=nncf.QuantizationPreset(preset),
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(pixels),
    )
    onnx.save(quantised, out)


def modelopt(model: Path, pixels: Any, out: Path, *, method: str) -> None:
    """ModelOpt's INT8; the layers that it leaves out stay float32, as everybody else's do here."""
    from modelopt.onnx.quantization import quantize  # type: ignore[import-not-found]

    quantize(
        str(model),
        quantize_mode="int8",
        calibration_data={INPUT: pixels},
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(out),
    )


PEERS: dict[str, tuple[str, Quantise]] = {
    "onnxruntime-s8-minmax": ("onnxruntime", partial(onnxruntime_s8, method="MinMax")),
    "onnxruntime-s8-percentile": ("onnxruntime", partial(onnxruntime_s8, method="Percentile")),
    "onnxruntime-s8-entropy": ("onnxruntime", partial(onnxruntime_s8, method="Entropy")),
    "onnxruntime-u8-minmax": ("onnxruntime", onnxruntime_u8),
    "nncf-mixed": ("nncf", partial(nncf, preset="mixed")),
    "nncf-performance": ("nncf", partial(nncf, preset="performance")),
    "modelopt-max": ("modelopt", partial(modelopt, method="max")),
    "modelopt-entropy": ("modelopt", partial(modelopt, method="entropy")),
}
"""The environment of each peer, and what it does there."""
PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "nncf": ("nncf", "onnxruntime", "onnx"),
    "modelopt": ("nvidia-modelopt", "onnxruntime-gpu", "onnx"),
}


class _Pictures:
    """One picture after the other, or those of a range: what ONNX Runtime calibrates from."""

    def __init__(self, pixels: Any) -> None:
        self._pixels = pixels
        self.set_range(0, len(pixels))

    def __len__(self) -> int:
        return len(self._pixels)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give only these from now on."""
        self._left = iter(self._pixels[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """The next picture; None after the last."""
        picture = next(self._left, None)
        return None if picture is None else {INPUT: picture[None]}


def _onnxruntime(
    model: Path, pixels: Any, out: Path, *, method: str, signed: bool, options: dict[str, Any]
) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(_Pictures, CalibrationDataReader):  # type: ignore[misc]
        """The class that ONNX Runtime wants."""

    if method != "MinMax":  # which keeps two numbers a tensor; the others keep all activations
        at_once = max(n for n in range(1, AT_ONCE + 1) if len(pixels) % n == 0)
        options = {**options, "CalibStridedMinMax": at_once}
    quantize_static(
        model,
        out,
        Reader(pixels),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options=options,
    )


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("peer", choices=sorted(PEERS))
    made.add_argument("model", type=Path, help="float ONNX file with the input `pixels`")
    made.add_argument("pixels", type=Path, help=".npz with the calibration pixels")
    made.add_argument("out", type=Path, help="the Q/DQ ONNX file to write")
    return made


if __name__ == "__main__":
    main()
