"""Running any float graph on a CPU, with named arrays in and out: for calibration and checks."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from edgeseg.device.signals import handle_on_own_stack
from edgeseg.errors import MissingPackage
from edgeseg.tables import needs
from edgeseg.types import Array

RunGraph: TypeAlias = Callable[[Mapping[str, Array]], dict[str, Array]]


def float_runner(model: bytes) -> RunGraph:
    """A function that runs the serialised ONNX `model` in float32, on OpenVINO or ONNX Runtime.

    The arrays that it returns are valid until its next call.

    Raises:
        MissingPackage: neither is installed.
    """
    for make in (_openvino_runner, _onnxruntime_runner):
        try:
            return make(model)
        except ImportError:
            continue
    raise MissingPackage(
        "running a float graph needs OpenVINO or ONNX Runtime; neither is installed",
        fix="pip install 'edgeseg[openvino]' or 'edgeseg[ort]'",
    )


def _openvino_runner(model: bytes) -> RunGraph:
    from openvino import Core

    core = Core()
    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(core.read_model(model), "CPU", config)
    handle_on_own_stack()
    request = compiled.create_infer_request()
    # A tensor that goes by several names there has those of other outputs as well.
    names = output_names(model)

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        request.infer(dict(feeds))
        return {
            name: np.asarray(request.get_output_tensor(index).data)
            for index, name in enumerate(names)
        }

    return run


def _onnxruntime_runner(model: bytes) -> RunGraph:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # It would find INT8 layers behind float weights, and round those once more.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


def output_names(model: bytes) -> list[str]:
    """The names of the outputs of a serialised ONNX model, in order."""
    with needs("graph"):
        import onnx
    return [output.name for output in onnx.ModelProto.FromString(model).graph.output]
