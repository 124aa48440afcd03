"""What a DLA that takes no Q/DQ nodes is given: the network in float, and a scale for each tensor.

The float core of an engine folder and its ranges belong together: a build calibrates the core as it
lies there. Steps that change weights (equalisation, rounding) are in the Q/DQ graph alone, whose
ranges are others.
"""

from pathlib import Path

from edgeseg.manifest import read_manifest
from edgeseg.ranges_export import export_ranges, scale_of, tensorrt_cache, version_number
from edgeseg.tables import needs


def dla_parts(folder: Path, tensorrt_version: str) -> tuple[bytes, bytes]:
    """The float frame graph of an INT8 engine folder, and its calibration cache for that TensorRT.

    Raises:
        UsageError: that version reads no calibration cache.
        EngineMismatch: an altered folder, or one without ranges of its own.
        InputFileError: ranges that do not cover the core.
    """
    with needs("graph"):
        from edgeseg.graph.frame import frame_graph
        from edgeseg.graph.load import load_model
        from edgeseg.graph.plain_int8 import frame_ranges
        from edgeseg.graph.reframe import spec_of

    version_number(tensorrt_version)  # is refused before anything is read
    calibrated = {name: item.amax for name, item in export_ranges(folder).tensors.items()}
    core = load_model(folder / "float.onnx")
    graph = frame_graph(core, spec_of(read_manifest(folder)))
    ranges = frame_ranges(graph, calibrated)
    scales = {name: scale_of(amax) for name, amax in ranges.items()}
    return graph.SerializeToString(), tensorrt_cache(scales, tensorrt_version).encode()
