"""The layers of a TensorRT plan, by its engine inspector."""

import hashlib
from contextlib import closing
from typing import Any

import tensorrt as trt

from edgeseg.backends.layers import Layer, layers_from_inspector
from edgeseg.backends.plans import unpacked
from edgeseg.backends.tensorrt.fingerprint import cannot_start
from edgeseg.backends.tensorrt.log import LOG
from edgeseg.device.choice import open_device
from edgeseg.errors import EngineMismatch


def layers(plan: bytes) -> list[Layer]:
    """The layers of `plan` in the order in which they run.

    Raises:
        EngineMismatch: the plan was altered, or this TensorRT does not take it.
        DeviceError: no GPU, or no driver.
    """
    header, body = unpacked(plan)
    if header.get("sha256") != hashlib.sha256(body).hexdigest():
        raise EngineMismatch("the plan was altered after the build", fix="build the engine again")
    with closing(open_device()) as gpu, gpu.active():
        text = _inspected(header, body)
    return layers_from_inspector(text)


def _inspected(header: dict[str, Any], body: bytes) -> str:
    LOG.clear()
    try:
        loader: trt.Runtime = trt.Runtime(LOG)
    except TypeError as error:
        raise cannot_start() from error
    if header.get("dla") is not None:
        loader.DLA_core = header["dla"]
    if header.get("version_compatible"):
        loader.engine_host_code_allowed = True
    engine: trt.ICudaEngine = loader.deserialize_cuda_engine(body)
    if engine is None:
        raise EngineMismatch(
            f"TensorRT {trt.__version__} does not take this plan: {LOG.last_errors()}",
            fix="build the engine again",
        )
    inspector: trt.EngineInspector = engine.create_engine_inspector()
    text = str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    del inspector, engine  # before what loaded them
    return text
