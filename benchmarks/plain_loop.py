"""The loop that a user writes around an INT8 network, against which edgeseg's loop is measured.

OpenCV reads, resizes, draws and writes; OpenVINO runs the network; numpy does the rest. Nothing
here is slow on purpose: the request and its threads are made once, the mean and std are float32
arrays, the palette is one look-up.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from openvino import Core, InferRequest

from edgeseg.manifest import Manifest
from edgeseg.types import Array, Floats, Pixels


@dataclass(frozen=True, kw_only=True)
class PlainRun:
    """What one pass took, from the first read until the written file is closed."""

    frames: int
    seconds: float


class PlainNetwork:
    """The INT8 core with the numbers that the loop around it needs."""

    def __init__(self, core: bytes, manifest: Manifest, *, threads: int) -> None:
        runtime = Core()
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = runtime.compile_model(runtime.read_model(core), "CPU", config)
        self.request: InferRequest = compiled.create_infer_request()
        size = manifest.network_size
        self.width_height = (size.width, size.height)
        std = 1 / (255 * np.array(manifest.gain))
        self.mean = (-np.array(manifest.bias) * std).astype(np.float32)
        self.std = std.astype(np.float32)
        palette = manifest.to_labels().palette()
        self.palette_bgr = np.ascontiguousarray(palette[:, ::-1])


def labels_of(network: PlainNetwork, frame: Pixels) -> Array:
    """Class ids (H, W) of a BGR frame (H, W, 3)."""
    small = cv2.resize(frame, network.width_height)
    rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    pixels = ((rgb - network.mean) / network.std).transpose(2, 0, 1)[None]
    network.request.infer({0: np.ascontiguousarray(pixels)})
    logits: Floats = network.request.get_output_tensor(0).data[0]
    height, width = frame.shape[:2]
    scores = cv2.resize(np.ascontiguousarray(logits.transpose(1, 2, 0)), (width, height))
    return np.argmax(scores, axis=2)


def plain_loop(network: PlainNetwork, clip: Path, out: Path) -> PlainRun:
    """Segment `clip` into the video `out`, MPEG-4 in the size and rate of the clip."""
    capture = cv2.VideoCapture(str(clip))
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    frames, start = 0, time.perf_counter()
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        colors = network.palette_bgr[labels_of(network, frame)]
        writer.write(cv2.addWeighted(frame, 0.5, colors, 0.5, 0))
        frames += 1
    writer.release()
    seconds = time.perf_counter() - start
    capture.release()
    return PlainRun(frames=frames, seconds=seconds)
