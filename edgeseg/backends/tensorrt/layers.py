"""The layers of a TensorRT plan, by its engine inspector."""

from contextlib import closing

import tensorrt as trt

from edgeseg.backends.layers import Layer, layers_from_inspector
from edgeseg.backends.tensorrt.loading import LoadedEngine, checked
from edgeseg.device.choice import open_device


def layers(plan: bytes) -> list[Layer]:
    """The layers of `plan` in the order in which they run.

    Raises:
        EngineMismatch: the plan was altered, or this TensorRT does not take it.
        DeviceError: no GPU, no driver, or a TensorRT that does not start.
    """
    header, body = checked(plan)
    with (
        closing(open_device()) as gpu,
        gpu.active(),
        closing(LoadedEngine(header, body)) as loaded,
    ):
        text = _inspected(loaded.engine)
    return layers_from_inspector(text)


def _inspected(engine: trt.ICudaEngine) -> str:
    inspector: trt.EngineInspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
