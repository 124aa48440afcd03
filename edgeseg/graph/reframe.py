"""The same core with another head and tail."""

from pathlib import Path

from onnx import ModelProto

from edgeseg.graph.cut import core_of
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.load import load_model
from edgeseg.graph.smooth import smoothed
from edgeseg.manifest import Manifest


def reframed(graph: Path, manifest: Manifest) -> bytes:
    """The frame graph at `graph` for the frame size that `manifest` now says, serialised."""
    return bytes(framed(core_of(load_model(graph)), manifest).SerializeToString())


def framed(core: ModelProto, manifest: Manifest) -> ModelProto:
    """The frame graph of `core` that `manifest` describes, smoothed where it says so."""
    graph = frame_graph(core, spec_of(manifest))
    return graph if manifest.smooth is None else smoothed(graph, manifest.smooth)


def spec_of(manifest: Manifest) -> FrameSpec:
    """What head and tail have to do for this engine."""
    frame = manifest.frame_size
    return FrameSpec(
        size=frame,
        pixel_format=manifest.frame_format,
        order=manifest.order,
        gain=manifest.gain,
        bias=manifest.bias,
        mask_size=frame if manifest.mask_size == "frame" else manifest.network_size,
        yuv=manifest.yuv_kind,
    )
