"""A plan that is as it was built, and the engine that TensorRT makes of it."""

import hashlib
from typing import Any

import tensorrt as trt

from edgeseg.backends.plans import unpacked
from edgeseg.backends.tensorrt.borders import REBUILD
from edgeseg.backends.tensorrt.fingerprint import cannot_start
from edgeseg.backends.tensorrt.log import LOG
from edgeseg.errors import EngineMismatch


class LoadedEngine:
    """The engine of `body`, and what has to outlive it.

    To be made and closed in a block of `active` of its GPU.

    Raises:
        EngineMismatch: this TensorRT does not take it, or it is for a DLA core that is not here.
        DeviceError: TensorRT does not start.
    """

    def __init__(self, header: dict[str, Any], body: bytes) -> None:
        LOG.clear()
        try:
            loader: trt.Runtime = trt.Runtime(LOG)
        except TypeError as error:
            raise cannot_start() from error
        _prepare(loader, header)
        self._loader: trt.Runtime | None = loader
        self.engine: trt.ICudaEngine | None = loader.deserialize_cuda_engine(body)
        if self.engine is None:
            raise EngineMismatch(
                f"TensorRT {trt.__version__} does not take this plan of TensorRT "
                f"{header.get('tensorrt', 'unknown')}: {LOG.last_errors()}",
                fix=REBUILD,
            )

    def close(self) -> None:
        """Free the engine, then what loaded it; closing twice is fine."""
        self.engine = None
        self._loader = None


def checked(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a plan that is as it was built; no other may reach TensorRT.

    Raises:
        EngineMismatch: it is truncated or altered, or no plan at all.
    """
    header, body = unpacked(plan)
    if header.get("bytes") != len(body):
        raise EngineMismatch(
            f"the plan was altered after the build: it has {len(body)} bytes and was built with "
            f"{header.get('bytes')}",
            fix=REBUILD,
        )
    if header.get("sha256") != hashlib.sha256(body).hexdigest():
        raise EngineMismatch("the plan was altered after the build", fix=REBUILD)
    return header, body


def cameras(header: dict[str, Any]) -> int:
    """For how many frames at once the plan was built.

    Raises:
        EngineMismatch: the header says nothing of the kind.
    """
    found = header.get("cameras", 1)
    if type(found) is not int or found < 1:
        raise EngineMismatch(f"the plan is for {found!r} cameras", fix=REBUILD)
    return found


def _prepare(loader: trt.Runtime, header: dict[str, Any]) -> None:
    """Tell it of the DLA, and that a version-compatible plan may bring code of its own."""
    core = header.get("dla")
    if core is not None:
        if type(core) is not int or not 0 <= core < loader.num_DLA_cores:
            raise EngineMismatch(
                f"the plan is for DLA core {core}, and this machine has {loader.num_DLA_cores}",
                fix=REBUILD,
            )
        loader.DLA_core = core
    if header.get("version_compatible"):
        loader.engine_host_code_allowed = True
