"""The inputs and outputs of a plan, as the engine itself gives them."""

from dataclasses import dataclass
from math import prod

import numpy as np
import tensorrt as trt

from edgeseg.backends.tensorrt.versions import numpy_dtype
from edgeseg.errors import EngineMismatch
from edgeseg.types import STATE, STATE_OUT, TensorSpec

REBUILD = "edgeseg build FOLDER --backend tensorrt"
"""What mends a plan; `FOLDER` is the engine's."""


@dataclass(frozen=True, kw_only=True)
class Border:
    """One input or output: sized by the plan, whatever the graph said before it was compiled."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    """With the leading N that every frame is run with."""
    dtype: np.dtype[np.generic]
    dynamic: bool
    """The plan leaves N open."""

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return prod(self.shape) * self.dtype.itemsize

    def spec(self) -> TensorSpec:
        """What a slot holds for it: uint8, since frames and labels are."""
        return TensorSpec(name=self.name, shape=self.shape, dtype=np.dtype(np.uint8))


STATES = frozenset({STATE, STATE_OUT})
"""Borders that no slot holds: a state's memory takes turns from frame to frame."""


def borders_of(engine: trt.ICudaEngine, cameras: int) -> tuple[Border, ...]:
    """All of them, with `cameras` for an N that the plan leaves open.

    Raises:
        EngineMismatch: no `frame` goes in or no `labels` come out, or another side is open.
    """
    borders = tuple(
        _border(engine, engine.get_tensor_name(index), cameras)
        for index in range(engine.num_io_tensors)
    )
    found = {(border.name, border.is_input) for border in borders}
    inputs = [name for name, is_input in found if is_input]
    remembers = (STATE, True) in found and (STATE_OUT, False) in found
    wanted = {"frame", STATE} if remembers else {"frame"}
    if set(inputs) != wanted or ("labels", False) not in found:
        outputs = sorted(name for name, is_input in found if not is_input)
        raise EngineMismatch(
            f"the plan takes {', '.join(sorted(inputs)) or 'nothing'} and gives "
            f"{', '.join(outputs) or 'nothing'}, not frame and labels",
            fix=REBUILD,
        )
    return borders


def _border(engine: trt.ICudaEngine, name: str, cameras: int) -> Border:
    sides = tuple(int(side) for side in engine.get_tensor_shape(name))
    dynamic = sides[:1] == (-1,)
    shape = (cameras, *sides[1:]) if dynamic else sides
    if len(shape) < 2 or min(shape) < 1:
        raise EngineMismatch(
            f"{name} has the shape {sides} in the plan; only the leading N may be open", fix=REBUILD
        )
    return Border(
        name=name,
        is_input=engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        shape=shape,
        dtype=np.dtype(numpy_dtype(engine.get_tensor_dtype(name))),
        dynamic=dynamic,
    )
