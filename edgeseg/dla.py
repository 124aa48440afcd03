"""What a DLA that takes no Q/DQ nodes is given: the network in float, and a scale for each tensor.

The float core of an engine folder and its ranges belong together: a build calibrates the core as it
lies there. Steps that change weights (equalisation, rounding) are in the Q/DQ graph alone, whose
ranges are others.
"""

from pathlib import Path
from typing import NamedTuple

from edgeseg.manifest import read_manifest
from edgeseg.ranges_export import export_ranges, scale_of, tensorrt_cache, version_number
from edgeseg.tables import needs


class DlaParts(NamedTuple):
    """What such a DLA is given."""

    graph: bytes
    """The frame graph in float."""
    cache: bytes
    """The scales of its tensors."""
    float_nodes: frozenset[str]
    """Its nodes that INT8 would spoil, or that the build left in float."""


def dla_parts(folder: Path, tensorrt_version: str) -> DlaParts:
    """What a DLA is given of an INT8 engine folder, with the scales as that TensorRT reads them.

    Raises:
        UsageError: that version reads no calibration cache.
        EngineMismatch: an altered folder, or one without ranges of its own.
        InputFileError: ranges that do not cover the core.
    """
    with needs("graph"):
        from edgeseg.graph.frame import frame_graph
        from edgeseg.graph.load import load_model
        from edgeseg.graph.plain_int8 import frame_ranges, spoilt_by_int8
        from edgeseg.graph.reframe import spec_of

    version_number(tensorrt_version)  # is refused before anything is read
    calibrated = {name: item.amax for name, item in export_ranges(folder).tensors.items()}
    core = load_model(folder / "float.onnx")
    manifest = read_manifest(folder)
    graph = frame_graph(core, spec_of(manifest))
    ranges = frame_ranges(graph, calibrated)
    scales = {name: scale_of(amax) for name, amax in ranges.items()}
    return DlaParts(
        graph.SerializeToString(),
        tensorrt_cache(scales, tensorrt_version).encode(),
        spoilt_by_int8(graph, core) | frozenset(manifest.float_layers),
    )
